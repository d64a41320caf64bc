import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { runCommand } from '@cloudos/host-tools';

/**
 * A boot as cloud-init sees it, in the order of its units: it looks which cloud it is in (ds-identify, as the generator of
 * systemd does), reads the seed before the network, the network is brought up, its other three stages run. Words: the root,
 * the device with the seed, a directory for results, the address of the card.
 */
const script = `set -eu
work=$(mktemp -d)
mount -t tmpfs tmpfs "$work"
root=$work/root
mkdir "$work/upper" "$work/work" "$root"
mount -t overlay -o "lowerdir=$1,upperdir=$work/upper,workdir=$work/work" overlay "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs run "$root/run"
mount -t tmpfs dev "$root/dev"
for node in null:3 zero:5 random:8 urandom:9; do mknod -m 666 "$root/dev/\${node%:*}" c 1 "\${node#*:}"; done
mknod -m 666 "$root/dev/fuse" c 10 229
cp -a "$2" "$root/dev/"
mkdir "$root/dev/shm" "$root/dev/pts" "$root/out"
mount --bind "$3" "$root/out"
# Where the kernel of the host knows no ISO 9660, mount(8) asks this.
printf '#!/bin/sh\nexec fuseiso "$1" "$2"\n' >"$root/sbin/mount.iso9660"
chmod 755 "$root/sbin/mount.iso9660"
ip link add ens2 type veth peer name far
ip link set ens2 address "$4"
ip link set far up
exec chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 sh -c '
/usr/lib/cloud-init/ds-identify --force
cloud-init init --local
ifup eth0
cloud-init init
cloud-init modules --mode=config
cloud-init modules --mode=final
cd /out
cp /run/cloud-init/result.json /run/cloud-init/instance-data.json .
cp /etc/network/interfaces.d/50-cloud-init interfaces
hostname >hostname
ip -4 address show eth0 >address
ip -4 route >route
cp ~debian/.ssh/authorized_keys keys
cp /run/cloudos/agent agent
cp /run/of-the-user of-the-user
' >"$3/log" 2>&1`;
const bootMaxMs = 120_000;

/**
 * Lets the cloud-init of that root (a Debian with the package, unpacked) take a seed as it does in a first boot, in namespaces of its
 * own. Nothing is left of it but what it returns: files by name.
 */
export async function bootWithCloudInit(root: string, seed: string, mac: string): Promise<(name: string) => Buffer> {
  const out = mkdtempSync(join(tmpdir(), 'cloudos-cloud-init-'));
  const device = execFileSync('losetup', ['--find', '--show', '--read-only', seed]).toString().trim();
  try {
    const namespaces = ['--mount', '--propagation', 'private', '--pid', '--fork', '--kill-child', '--uts', '--net'];
    const words = ['sh', '-c', script, 'sh', root, device, out, mac];
    const failed = await runCommand('unshare', [...namespaces, ...words], { timeoutMs: bootMaxMs }).catch(
      (error) => error,
    );
    const files = new Map<string, Buffer>();
    const read = (name: string) => {
      const known = files.get(name);
      if (known) return known;
      throw new Error(`no ${name}: ${failed}\n${files.get('log')?.toString().slice(-4_000)}`);
    };
    for (const name of execFileSync('ls', [out]).toString().split('\n').filter(Boolean)) {
      files.set(name, readFileSync(join(out, name)));
    }
    return read;
  } finally {
    execFileSync('losetup', ['--detach', device]);
    rmSync(out, { recursive: true, force: true });
  }
}
