#!/bin/sh
# Runs as process 1 of the virtual machine of kernel_vm_test.py. Says
# "ok NAME" or "FAILED NAME" for each case on the console, and switches it off.
export PATH=/bin
busybox mount -t proc proc /proc
busybox mount -t sysfs sysfs /sys
busybox mount -t devtmpfs dev /dev
exec > /dev/ttyS0 2>&1 < /dev/null
echo  # behind what the firmware left on the line
busybox mount -t tmpfs tmpfs /run
busybox ln -s /run /var/run
busybox --install -s /bin/busyboxes 2> /dev/null
export PATH=/bin:/bin/busyboxes

while read -r module; do
  insmod "/modules/$module" || echo "insmod $module failed"
done < /modules/order

LOG=/run/log

# The shell would take its own.
ip() { /bin/ip "$@"; }

# check NAME COMMAND…: the command's output is shown if it fails.
check() {
  name=$1
  shift
  if "$@" > $LOG 2>&1; then echo "ok $name"; else echo "FAILED $name"; sed 's/^/  /' $LOG; fi
}

until_true() { # until_true COMMAND…: asks again for 20 seconds
  for _ in $(seq 200); do
    "$@" > /dev/null 2>&1 && return 0
    usleep 100000
  done
  echo "waited in vain: $*"
  return 1
}

is_kernels() { ip -d link show "$1" | grep -q wireguard; }
is_tun() { ip -d link show "$1" | grep -q "tun "; }

automatic() {
  im-tunnel --backend auto wg0 && is_kernels wg0 || return 1
  [ -z "$(pidof im-tunnel)" ] || { echo "a process was left"; return 1; }
  wg set wg0 listen-port 5000 && [ "$(wg show wg0 listen-port)" = 5000 ] && ip link del wg0
}

userspace_by_default() {
  im-tunnel wg0 && is_tun wg0 && ip link del wg0 && until_true test ! -e /run/wireguard/wg0.sock
}

foreground() {
  im-tunnel -f --backend kernel wg0 &
  until_true is_kernels wg0 || return 1
  kill $!
  wait $! && ! ip link show wg0 2> /dev/null
}

# Two ends in namespaces a and b, joined by veth: $1 and $2 are the backends.
pair() {
  umask 077
  for end in a b; do
    ip netns add $end && ip -n $end link set lo up || return 1
    wg genkey > /run/$end.key && wg pubkey < /run/$end.key > /run/$end.pub || return 1
  done
  wg genpsk > /run/psk
  ip link add va netns a type veth peer name vb netns b || return 1
  number=1
  for end in a b; do
    eval "backend=\$$number"
    ip -n $end address add 192.0.2.$number/24 dev v$end && ip -n $end link set v$end up || return 1
    ip netns exec $end im-tunnel --backend "$backend" wg$end || return 1
    ip netns exec $end wg set wg$end private-key /run/$end.key listen-port 51820 || return 1
    ip -n $end address add 10.9.0.$number/24 dev wg$end || return 1
    ip -n $end address add fd09::$number/64 dev wg$end nodad || return 1
    ip -n $end link set wg$end up || return 1
    number=$((number + 1))
  done
  is_kernels_in a wga "$1" && is_kernels_in b wgb "$2" || return 1
  ip netns exec a wg set wga peer "$(cat /run/b.pub)" preshared-key /run/psk \
    allowed-ips 10.9.0.2/32,fd09::2/128 endpoint 192.0.2.2:51820 || return 1
  ip netns exec b wg set wgb peer "$(cat /run/a.pub)" preshared-key /run/psk \
    allowed-ips 10.9.0.1/32,fd09::1/128
}

is_kernels_in() { # is_kernels_in NAMESPACE INTERFACE BACKEND
  if [ "$3" = kernel ]; then
    ip -n "$1" -d link show "$2" | grep -q wireguard
  else
    ip -n "$1" -d link show "$2" | grep -q "tun "
  fi
}

talk() {
  pair "$1" "$2" || return 1
  for size in 56 1392 20000; do
    ip netns exec a ping -c 2 -W 10 -s $size 10.9.0.2 || return 1
    ip netns exec b ping -c 2 -W 10 -s $size fd09::1 || return 1
  done
  # Long enough for trains of segments.
  dd if=/dev/urandom of=/run/data bs=1M count=4 2> /dev/null
  # Its input stays open: else it would hang up first.
  ip netns exec b nc -l -p 7000 < /run/open > /run/copy &
  listener=$!
  until_true sh -c '/bin/ip netns exec b netstat -tln | grep -q :7000' || return 1
  ip netns exec a nc 10.9.0.2 7000 < /run/data || return 1
  wait $listener
  cmp /run/data /run/copy || return 1
  for end in a b; do
    ip netns exec $end wg show wg$end
    [ "$(ip netns exec $end wg show wg$end latest-handshakes | cut -f 2)" -gt 0 ] || return 1
  done
}

received_by_a() { ip netns exec a wg show wga transfer | cut -f 2; }
# A whole response: nothing else is that long where nothing is sent.
has_a_new_session() { [ "$(received_by_a)" -ge $((before + 92)) ]; }

# The machine's clock may be set here: what happens to one that was taken up
# from a snapshot.
clock_set_forward() {
  pair userspace userspace || return 1
  ip netns exec a ping -c 1 -W 10 10.9.0.2 || return 1
  before=$(received_by_a)
  date -s "@$(($(date +%s) + 3600))" || return 1
  until_true has_a_new_session || return 1
  ip netns exec a ping -c 1 -W 10 10.9.0.2 && ip netns exec b ping -c 1 -W 10 fd09::1
}

clean() {
  for end in a b; do
    ip -n $end link del wg$end
    ip netns del $end
  done 2> /dev/null
  until_true test ! -e /run/wireguard/wga.sock -a ! -e /run/wireguard/wgb.sock
}

case_of() { # case_of NAME BACKEND BACKEND
  check "$1" talk "$2" "$3"
  clean
}

ip link set lo up
mkfifo /run/open
exec 9<> /run/open
check device kernel-device-check wgk
check auto automatic
check default userspace_by_default
check foreground foreground
case_of kernel-to-userspace kernel userspace
case_of userspace-to-kernel userspace kernel
case_of kernel-to-kernel kernel kernel
check clock-set-forward clock_set_forward
clean
echo "the end"
poweroff -f
