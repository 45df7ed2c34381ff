# The usual machine, whose default routes lead through eth1, with pods behind it at 10.244.1.0/24. `./as-before` prints
# how all routes and rules differ from what they were.
. "${0%/*}/usual.sh"
ip -batch - << END
route add default via 10.1.0.1 proto dhcp metric 100
route add 10.244.1.0/24 via 10.1.0.7
END
ip -6 route add default via fd00:1::1 metric 512
cat > as-before << 'END'
#!/bin/sh
all() {
  for family in -4 -6; do
    ip -d $family route show table all
    ip -d $family rule show
  done
}
[ -e before ] || { all > before; exit; }
all | diff before -
END
chmod +x as-before
./as-before
