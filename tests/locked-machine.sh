#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Runs a command on a made-up machine that itself holds an apmigd lock: one that has state, policy, hooks, rules of polkit and
# a hypervisor of its own, in the places where those of a host are. What tests start must see nothing of that.
#
#     locked-machine.sh COMMAND [ARGUMENT...]
#
# All of it is mounted in a mount namespace of the command's own, and gone with the command. Needs root.
set -eu

if [ "${1-}" != --inside ]; then
    exec unshare --mount --propagation private -- "$0" --inside "$@"
fi
shift

mount -t tmpfs -o mode=0755 machine /mnt
mkdir -p /mnt/run /mnt/var/lib/apmigd/locks /mnt/var/cache /mnt/var/log /mnt/var/tmp
cp -a /etc /mnt/etc
ln -s /run /mnt/var/run
for folder in etc run var; do
    mount --bind "/mnt/$folder" "/$folder"
done

# A lock whose file cannot be read is a lock of everything.
echo 'half of a lo' >/var/lib/apmigd/locks/0badc0de.json
mkdir -p /etc/apmigd/policy.d /etc/libvirt/hooks/qemu.d /etc/polkit-1/rules.d /run/apmigd/admissions /run/dbus /run/libvirt/qemu
echo '{"no-such-key": 1}' >/etc/apmigd/policy.d/00-machine.json
printf '[NoSuchSection]\nKey=1\n' >/etc/apmigd/apmigd.conf
printf '#!/bin/sh\necho "hook of the machine" >&2\nexit 1\n' >/etc/libvirt/hooks/qemu.d/00-machine
chmod 0755 /etc/libvirt/hooks/qemu.d/00-machine
echo 'polkit.addRule(function () { return polkit.Result.NO; });' >/etc/polkit-1/rules.d/00-machine.rules
echo 'half of an admission' >/run/apmigd/admissions/00000000-0000-4000-8000-000000000001.json
for path in /run/dbus/system_bus_socket /run/libvirt/libvirt-sock /run/libvirt/qemu/g1.xml /run/apmigd-act.sock \
    /run/apmigd-fence.sock /run/apmigd/private; do
    echo 'of the machine' >"$path"
done
exec "$@"
