# The usual machine, on which another program has routes of every kind (protocol 80) through eth2, and a policy rule.
# `./unharmed`, the last command of a scenario, prints how they differ from what they were.
. "${0%/*}/usual.sh"
ip -batch - << END
link add eth2 type veth peer name eth2-peer
link set eth2 addrgenmode none
link set eth2-peer addrgenmode none
link set eth2-peer up
link set eth2 up
address add 10.2.0.2/24 dev eth2
address add fd00:2::2/64 dev eth2 nodad
END
until [ "$(ip -6 route show dev eth2)" ]; do
  sleep 0.01
done
ip -batch - << END
route add 192.0.2.1 via 10.2.0.1 proto 80 metric 4000
route add 192.0.2.0/24 via 10.2.0.1 proto 80
route add 192.0.2.1 via 10.2.0.1 proto 80 table 100
route add blackhole 203.0.113.0/25 proto 80
route add 203.0.113.128/25 proto 80 nexthop via 10.2.0.1 nexthop via 10.2.0.3
nexthop add id 4711 via 10.2.0.1 dev eth2
route add 203.0.114.0/24 nhid 4711 proto 80
route add 203.0.115.0/24 dev eth2 proto 80
route add 2001:db8::1 via fd00:2::1 proto 80 metric 4000
route add 2001:db8::/32 via fd00:2::1 proto 80
rule add fwmark 77 lookup 100 pref 1000
END
cat > unharmed << 'END'
#!/bin/sh
theirs() {
  ip -d -4 route show table all proto 80
  ip -d -6 route show table all proto 80
  ip rule show
}
[ -e theirs ] || { theirs > theirs; exit; }
theirs | diff theirs -
END
chmod +x unharmed
./unharmed
