#!/usr/bin/env bash
# A network of machines out of namespaces: a desk, from which a person works, and hosts with an SSH
# server. Each has processes, network, host name, /tmp, /dev/shm, /run and home of its own; what it
# writes elsewhere in PRIVATE is its own too and gone with it.
#
#   unshare ... lan.sh desk FOLDER HOST...    the desk; it starts the hosts and ends with them
#
# FOLDER holds authorized_keys, host_key and private (one path a line); "ready" appears in it.
set -euo pipefail

own_machine() { # FOLDER NAME
    mount --make-rprivate /
    hostname "$2"
    ip link set lo up
    mount -t tmpfs tmpfs /run
    mkdir -p /run/sshd /run/shared /run/own
    mount --bind "$1" /run/shared
    local layer=0 path
    while read -r path; do
        layer=$((layer + 1))
        mkdir -p "/run/own/$layer/upper" "/run/own/$layer/work"
        mount -t overlay overlay \
            -o "lowerdir=$path,upperdir=/run/own/$layer/upper,workdir=/run/own/$layer/work" "$path"
    done <"$1/private"
    mount --bind /run/shared "$1" # in sight of the others again, if one of those paths is above it
    mount --bind "$1/hosts" /etc/hosts
    mount -t tmpfs tmpfs /dev/shm
    mkdir -p /tmp/ray
    mount -t tmpfs tmpfs /tmp/ray
    chmod 1777 /dev/shm /tmp/ray
}

case $1 in
desk)
    folder=$2
    shift 2
    printf '127.0.0.1 localhost\n10.77.0.1 desk\n' >"$folder/hosts"
    number=1
    for name in "$@"; do
        number=$((number + 1))
        echo "10.77.0.$number $name" >>"$folder/hosts"
    done
    own_machine "$folder" desk
    ip link add lan type bridge
    ip address add 10.77.0.1/24 dev lan
    ip link set lan up
    number=1
    for name in "$@"; do
        number=$((number + 1))
        unshare --net --uts --ipc --mount --pid --fork --kill-child --mount-proc \
            bash "$0" host "$folder" "$name" "10.77.0.$number" &
        until [ "$(readlink "/proc/$!/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do sleep 0.02; done
        ip link add "lan$number" type veth peer name eth0 netns "$!"
        ip link set "lan$number" master lan up
    done
    for name in "$@"; do
        until [ -e "$folder/$name.up" ]; do sleep 0.02; done
    done
    echo $$ >"$folder/ready"
    wait
    ;;
host)
    folder=$2 name=$3 address=$4
    own_machine "$folder" "$name"
    until ip link show eth0 >/dev/null 2>&1; do sleep 0.02; done
    ip address add "$address/24" dev eth0
    ip link set eth0 up
    # Ray finds its own address by asking for the way out
    ip route add default via 10.77.0.1
    touch "$folder/$name.up"
    exec "$(command -v sshd || echo /usr/sbin/sshd)" -D -e -f /dev/null \
        -o Port=22 -o "HostKey=$folder/host_key" -o "AuthorizedKeysFile=$folder/authorized_keys" \
        -o StrictModes=no -o UsePAM=no -o PasswordAuthentication=no -o MaxStartups=50 \
        -o "PidFile=none" 2>"$folder/$name.log"
    ;;
esac
