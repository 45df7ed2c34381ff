# The machine of a scenario without a topology: 10.0.0.2/24 and fd00::2/64 on eth0, 10.1.0.2/24 and fd00:1::2/64 on eth1.
# The other ends of both are in the same namespace, and nobody answers at the gateways.
ip -batch - << END
link set lo up
link add eth0 type veth peer name eth0-peer
link add eth1 type veth peer name eth1-peer
link set eth0 addrgenmode none
link set eth1 addrgenmode none
link set eth0-peer addrgenmode none
link set eth1-peer addrgenmode none
link set eth0-peer up
link set eth1-peer up
link set eth0 up
link set eth1 up
address add 10.0.0.2/24 dev eth0
address add fd00::2/64 dev eth0 nodad
address add 10.1.0.2/24 dev eth1
address add fd00:1::2/64 dev eth1 nodad
END
# The kernel adds the IPv6 routes of an address only when the link is operational.
until [ "$(ip -6 route show dev eth0)" ] && [ "$(ip -6 route show dev eth1)" ]; do
  sleep 0.01
done
