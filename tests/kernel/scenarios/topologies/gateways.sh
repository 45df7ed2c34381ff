# A node (this namespace) with two gateways that answer: 10.9.0.1 and fd09::1 behind eth0, 10.8.0.1 and fd08::1 behind
# eth1. Each has a namespace of its own, gw0 and gw1, with a switch before it: `ip -n gw0 link set port down` silences the
# first, and the node's own link stays up. `ip -n gw0 address add 10.9.0.3/24 dev gw` adds an address.
gateway() { # NAME INTERFACE NUMBER
  ip link add $2 type veth peer name node
  ip link set $2 addrgenmode none
  ip netns add $1
  ip link set node netns $1
  ip netns exec $1 sysctl -qw net.ipv4.conf.all.arp_ignore=1
  ip -n $1 -batch - << END
link set lo up
link add switch type bridge
link add gw type veth peer name port
link set switch addrgenmode none
link set gw addrgenmode none
link set port addrgenmode none
link set node addrgenmode none
link set node master switch
link set port master switch
link set node up
link set port up
link set gw up
link set switch up
address add 10.$3.0.1/24 dev gw
address add fd0$3::1/64 dev gw nodad
END
  ip -batch - << END
link set $2 up
address add 10.$3.0.2/24 dev $2
address add fd0$3::2/64 dev $2 nodad
END
}

ip link set lo up
gateway gw0 eth0 9
gateway gw1 eth1 8
