// npm run images -- <directory> [--vm] [--cloud]: makes the small images that tests and examples use (counter:1, shell:1) from Debian's
// packages, without any network, in an image store: a state directory's `images`, or any OCI layout. With --vm, as root, the
// disk of a small Linux too, whose kernel comes from the archive of Debian's packages: vm:1, with kernel and initrd beside it,
// and vm-disk:1, which boots by itself. With --cloud a Debian with systemd and cloud-init (cloud:1), as its packages make it.
import { resolve } from 'node:path';
import { ensureBuilt, ensureInstalled } from './lib/install.mjs';
import { fail, say } from './lib/workspace.mjs';

await ensureInstalled();
await ensureBuilt();
const { makeTestImages } = await import('./dist/index.js');

const [vm, cloud] = ['--vm', '--cloud'].map((option) => process.argv.includes(option));
const [directory, ...more] = process.argv.slice(2).filter((word) => word !== '--vm' && word !== '--cloud');
if (!directory || more.length > 0) {
  fail('usage: npm run images -- <directory> [--vm] [--cloud]   (for a kernel: its state directory with /images)');
}
try {
  for (const { reference, digest, sizeBytes } of await makeTestImages(resolve(directory), { vm, cloud })) {
    say(`${reference}  ${digest.slice(0, 19)}  ${Math.ceil(sizeBytes / 1024)} KiB`);
  }
} catch (error) {
  fail(error.message);
}
