#!/bin/bash
# run.sh 'COMMAND': run COMMAND as root under a kernel of its own: Debian's 6.1 cloud kernel in QEMU.
#
# What needs it: kinds of interface and hooks that the machine's kernel lacks (in-kernel WireGuard, bond, vlan, vrf,
# netem, kprobes). The guest sees this machine's files read-only, with this folder as its working directory, and has
# writable /run, /mnt, /var/tmp and /tmp of its own. Modules are in /lib/modules and load on demand.
#
# Prints what COMMAND prints, then GUEST_RC=N, and exits with N; with 99 where that line never came, because then
# nobody knows what happened. VM_TIMEOUT: seconds for everything (300). VM_SMP, VM_MEMORY: processors (2), MiB (2048).
#
# It has one network card, a vmxnet3 behind which nobody answers (restrict=on), without a driver until somebody loads it.
#
# QEMU emulates (TCG) on purpose: /dev/kvm may exist and hang where machines are nested.
# Needs: qemu-system-x86 qemu-system-common busybox-static kmod cpio, and apt's package lists for the kernel.
set -euo pipefail
umask 022

cache=${NETDIAG_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/netdiag-vm}
command=${1:?usage: run.sh COMMAND}
# In this order: what a virtio disk of files (virtiofs) needs, then what lab hosts and the console need.
modules=(virtio virtio_ring virtio_pci fuse virtiofs overlay)

# --- once: the kernel package, and a small first root that hands over to this machine's files -----------------------
fetch_kernel() {
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n1)
    [ -n "$package" ] || { echo "run.sh: no cloud kernel in apt's lists: apt-get update" >&2; exit 99; }
    (cd "$1" && apt-get -q -o APT::Sandbox::User=root download "$package" >&2 && dpkg-deb -x "$package"_*.deb kernel && rm -- *.deb)
    depmod -b "$1/kernel" "$(ls "$1/kernel/lib/modules")"
}

write_init() {
    cat > "$1" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
while read -r module; do $b insmod "/modules/$module" || echo "run.sh: cannot load $module"; done < /modules/order
if ! $b mount -t virtiofs -o ro machine /root; then echo "run.sh: no root file system"; $b poweroff -f; fi
# The repository and the modules stay in sight where they lie in a folder that is about to be covered.
keep=$($b sed 's/.*netdiag_keep=\([^ ]*\).*/\1/' /proc/cmdline | $b base64 -d)
number=0
for path in $keep; do number=$((number + 1)); $b mkdir -p "/kept/$number"; $b mount --bind "/root$path" "/kept/$number"; done
for folder in run mnt tmp var/tmp; do $b mount -t tmpfs tmpfs "/root/$folder"; done
number=0
for path in $keep; do
    number=$((number + 1))
    case $path in
        /run/* | /mnt/* | /tmp/* | /var/tmp/*) $b mkdir -p "/root$path"; $b mount --move "/kept/$number" "/root$path" ;;
        *) $b umount "/kept/$number" ;;
    esac
done
$b mount -t devtmpfs dev /root/dev
$b mkdir -p /root/dev/pts /root/dev/shm
$b mount -t devpts devpts /root/dev/pts
$b mount -t tmpfs tmpfs /root/dev/shm
$b mount -t proc proc /root/proc
$b mount -t sysfs sysfs /root/sys
$b mount -t tracefs tracefs /root/sys/kernel/tracing
$b mount -t debugfs debugfs /root/sys/kernel/debug
$b mount -t bpf bpf /root/sys/fs/bpf
$b mount -t cgroup2 cgroup2 /root/sys/fs/cgroup
script=$($b sed 's/.*netdiag_script=\([^ ]*\).*/\1/' /proc/cmdline | $b base64 -d)
$b umount /proc
# The files become the root of the mount namespace itself, not of this process alone: setns(2) goes to the former.
exec $b switch_root /root $b sh -c '/bin/bash -c "$1" < /dev/null 2>&1; status=$?
    $0 printf "\nGUEST_RC=%s\n" "$status"; $0 sync; $0 poweroff -f' $b "$script"
INIT
    chmod 755 "$1"
}

build() {
    local work=$1 version module file
    fetch_kernel "$work"
    version=$(ls "$work/kernel/lib/modules")
    mkdir -p "$work"/first/{bin,dev,proc,root,modules}
    cp /bin/busybox "$work/first/bin/"
    : > "$work/first/modules/order"
    for module in "${modules[@]}"; do
        # Dependencies first; what is compiled into the kernel is listed as "builtin" and has no file.
        modprobe -d "$work/kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p' |
            while read -r file; do
                [ -e "$work/first/modules/${file##*/}" ] && continue
                cp "$file" "$work/first/modules/"
                echo "${file##*/}" >> "$work/first/modules/order"
            done
    done
    write_init "$work/first/init"
    (cd "$work/first" && find . | cpio --quiet -o -H newc | gzip -1) > "$work/first.gz"
    ln -s "kernel/boot/vmlinuz-$version" "$work/vmlinuz"
}

mkdir -p "$cache"
# A cache of another version of this file is another folder; the lock lets parallel tests build it once.
ready=$cache/$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-16)
exec 9> "$cache/lock"
flock 9
if [ ! -d "$ready" ]; then
    fresh=$(mktemp -d "$cache/building.XXXXXX")
    trap 'rm -rf "$fresh"' EXIT
    build "$fresh"
    chmod 755 "$fresh"
    mv "$fresh" "$ready"
    trap - EXIT
fi
exec 9>&-

# --- each time: the file server, then the guest ---------------------------------------------------------------------
work=$(mktemp -d /dev/shm/netdiag-vm.XXXXXX)
server= guest=
clean() {
    for pid in $guest $server; do kill -KILL "$pid" 2>/dev/null || true; done
    rm -rf "$work"
}
trap clean EXIT
trap 'exit 99' INT TERM HUP

# The guest's root can write through the file server whatever the server can write, also where it has mounted the files
# read-only itself. So the server lives in a mount namespace where every mount is read-only but the one for its socket;
# what cannot be made read-only is taken out of its sight.
cat > "$work/serve" <<'SERVE'
set -eu
mkdir -p /run/virtiofsd
mount -t tmpfs tmpfs /run/virtiofsd
mount --bind "$1" "$1"
findmnt -rno TARGET | while read -r target; do
    target=$(printf %b "$target")
    case $target in /run/virtiofsd | "$1") continue ;; esac
    mount -o remount,bind,ro "$target" 2>/dev/null || umount -l "$target" 2>/dev/null || [ ! -e "$target" ]
done
exec /usr/lib/qemu/virtiofsd --socket-path="$1/files" -o source=/ -o sandbox=chroot -o cache=always -o announce_submounts
SERVE
setpriv --pdeathsig KILL unshare --mount --propagation private --kill-child \
    sh "$work/serve" "$work" > "$work/server.log" 2>&1 &
server=$!
for _ in $(seq 100); do
    [ -S "$work/files" ] && break
    kill -0 "$server" 2>/dev/null || break
    sleep 0.1
done
[ -S "$work/files" ] || { cat "$work/server.log" >&2; echo "run.sh: no file server" >&2; exit 99; }

script="export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
export VM_MODULES=$(printf %q "$ready/kernel"); hostname guest; ip link set dev lo up
[ -d /lib/modules ] || mount -t overlay overlay -o lowerdir=\$VM_MODULES/lib:/usr/lib /usr/lib
[ -d \$VM_MODULES/lib/modules ] && mount --bind \$VM_MODULES/lib/modules /lib/modules
cd $(printf %q "$PWD"); $command"
encoded=$(printf %s "$script" | base64 -w0)
[ "${#encoded}" -lt 1800 ] || { echo "run.sh: the command is too long for a kernel command line; put it in a file" >&2; exit 99; }

case $PWD$ready in *[[:space:]]*) echo "run.sh: no guest below a path with blanks" >&2; exit 99 ;; esac
keep=$(printf '%s\n%s\n' "$PWD" "$ready" | base64 -w0)

memory=${VM_MEMORY:-2048}
mkfifo "$work/console"
tr -d '\r' < "$work/console" | tee "$work/out" &
reader=$!
# In the background, because a shell heeds signals only while it waits; each process dies with the one above it.
setpriv --pdeathsig KILL timeout --kill-after 5 "${VM_TIMEOUT:-300}" setpriv --pdeathsig KILL qemu-system-x86_64 \
    -accel tcg,thread=multi -cpu max -smp "${VM_SMP:-2}" -m "${memory}M" \
    -object "memory-backend-memfd,id=ram,size=${memory}M,share=on" -numa node,memdev=ram \
    -chardev "socket,id=files,path=$work/files" -device vhost-user-fs-pci,chardev=files,tag=machine,queue-size=1024 \
    -nic none -netdev user,id=nowhere,restrict=on -device vmxnet3,netdev=nowhere -display none -serial stdio -monitor none -no-reboot \
    -kernel "$ready/vmlinuz" -initrd "$ready/first.gz" \
    -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off random.trust_cpu=on netdiag_keep=$keep netdiag_script=$encoded" \
    < /dev/null > "$work/console" &
guest=$!
wait "$guest" || true
guest=
wait "$reader" || true
status=$(sed -n 's/^GUEST_RC=\([0-9]*\)$/\1/p' "$work/out" | tail -n1)
exit "${status:-99}"
