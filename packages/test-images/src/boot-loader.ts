import { execFile } from 'node:child_process';
import { mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const sectorBytes = 512;
/** Where the one partition begins, as fdisk(8) has it. */
export const partitionAt = 2048 * sectorBytes;
/** Of the master boot record: its program, then a table of four partitions and a signature. */
const tableAt = 446;
const linux = 0x83;
/** What GRUB needs to find the kernel in the first partition. */
const modules = ['biosdisk', 'part_msdos', 'ext2', 'linux'];

/**
 * GRUB for a BIOS, as it lies in the first sectors of a disk: `boot.img`, which loads what follows it, and the core image with its
 * modules and commands. Both come from Debian's packages, unpacked below `root`, and are made by their own program.
 * @param kernel the command that loads the kernel
 */
export async function bootLoader(root: string, kernel: string): Promise<Buffer> {
  const work = await mkdtemp(join(root, 'boot-'));
  try {
    const commands = ['set root=(hd0,msdos1)', `${kernel} root=/dev/vda1`, 'initrd /boot/initrd', 'boot'];
    await writeFile(join(work, 'commands'), `${commands.join('\n')}\n`);
    const inside = work.slice(root.length);
    const args = ['-O', 'i386-pc', '-p', '(hd0,msdos1)/boot/grub', '-c', `${inside}/commands`, '-o', `${inside}/core`];
    await run('chroot', [root, '/usr/bin/grub-mkimage', ...args, ...modules]);
    const boot = await readFile(join(root, 'usr/lib/grub/i386-pc/boot.img'));
    return Buffer.concat([boot, await readFile(join(work, 'core'))]);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
}

/** Writes a boot loader in front of the partition of a disk, and the table that tells of the partition. */
export async function installBootLoader(loader: string, disk: string, diskBytes: number): Promise<void> {
  const sectors = await readFile(loader);
  if (sectors.length > partitionAt)
    throw new Error(`the boot loader has ${sectors.length} bytes, at most ${partitionAt}`);
  const table = Buffer.alloc(sectorBytes - tableAt);
  table.writeUInt8(0x80, 0); // the one to boot from
  table.fill(0xff, 1, 4); // what cannot be said in cylinders
  table.writeUInt8(linux, 4);
  table.fill(0xff, 5, 8);
  table.writeUInt32LE(partitionAt / sectorBytes, 8);
  table.writeUInt32LE((diskBytes - partitionAt) / sectorBytes, 12);
  table.writeUInt16LE(0xaa55, table.length - 2);
  table.copy(sectors, tableAt);
  const file = await open(disk, 'r+');
  await file.write(sectors, 0, sectors.length, 0).finally(() => file.close());
}
