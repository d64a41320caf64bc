/** What machines of one kind have in common: they take each other's states. */
export interface MachineShape {
  readonly accelerator: 'kvm' | 'tcg';
  readonly memoryMiB: number;
  readonly vcpus: number;
  readonly format: 'qcow2' | 'raw';
  readonly boot?: { readonly initrd: boolean; readonly commandLine: string } | undefined;
}

export interface HardwareOptions extends MachineShape {
  readonly mac: string | undefined;
  /** The chardev that the serial port is connected to. */
  readonly console: 'out' | 'console';
  /** Paths of the node, over the chardev `fs`. */
  readonly mounts?: boolean;
  /** A file that the memory begins as (or is, where it is shared). Absent: memory of its own. */
  readonly memory?: { readonly file: string; readonly share: boolean } | undefined;
}

/** Names below `m`: the overlay that a machine writes to. */
export const overlayFile = 'disk.qcow2';

/**
 * A PC with virtio devices on PCI. Files in order: 3 the disk of the image, 4 the seed, then kernel and initrd. Disk and
 * seed are handed to QEMU as open descriptors: its user may not be able to open them.
 */
export function hardware(options: HardwareOptions): string[] {
  const { accelerator, memoryMiB, vcpus, mac } = options;
  const port = (nr: number, chardev: string, name: string) => [
    '-device',
    `virtserialport,bus=serial.0,nr=${nr},chardev=${chardev},name=${name}`,
  ];
  return [
    ...[
      '-M',
      'pc,vmport=off,memory-backend=ram',
      ...memory(options),
      '-m',
      `${memoryMiB}M`,
      '-smp',
      String(vcpus),
      '-no-reboot',
    ],
    ...['-accel', accelerator === 'tcg' ? `tcg,tb-size=${translationMiB(options)}` : 'kvm'],
    ...['-cpu', accelerator === 'tcg' ? 'qemu64' : 'host'],
    ...(options.console === 'console' ? ['-chardev', 'file,id=console,path=console,append=on'] : []),
    ...['-serial', `chardev:${options.console}`],
    ...['-chardev', 'socket,id=agent,path=agent,server=on,wait=off', '-chardev', 'file,id=end,path=end,append=on'],
    ...['-device', 'virtio-serial-pci,id=serial,max_ports=8'],
    ...port(1, 'agent', 'agent'),
    // Where the console is the guest's output, its program has none.
    ...(options.console === 'console' ? [...port(2, 'out', 'stdout'), ...port(3, 'err', 'stderr')] : []),
    ...port(4, 'end', 'end'),
    ...disks(options.format),
    ...['-device', `virtio-blk-pci,drive=disk${options.boot ? '' : ',bootindex=0'}`],
    ...['-device', 'virtio-blk-pci,drive=seed'],
    ...['-device', `virtio-net-pci,netdev=n0,romfile=${mac === undefined ? '' : `,mac=${mac}`}`],
    ...['-object', 'rng-builtin,id=rng', '-device', 'virtio-rng-pci,rng=rng'],
    ...(options.mounts ? ['-device', 'vhost-user-fs-pci,chardev=fs,tag=fs'] : []),
    ...kernel(options.boot),
  ];
}

/**
 * Room for translated code, where machines are emulated: half of their memory. With 64 MiB the first boot of a complete
 * Debian in 512 MiB filled it 22 times and took 66 s of a processor, with 256 MiB twice and 52 s; a small Linux in 128 MiB takes
 * 3.8 to 4.3 s with 64 MiB, 5.1 to 6.1 s with 32.
 */
export function translationMiB({ accelerator, memoryMiB }: Pick<MachineShape, 'accelerator' | 'memoryMiB'>): number {
  return accelerator === 'tcg' ? Math.min(256, Math.max(64, Math.ceil(memoryMiB / 2))) : 0;
}

function memory({ memoryMiB, memory: given, mounts }: HardwareOptions): string[] {
  const object = `id=ram,size=${memoryMiB}M`;
  if (!given) return ['-object', mounts ? `memory-backend-memfd,${object},share=on` : `memory-backend-ram,${object}`];
  return ['-object', `memory-backend-file,${object},mem-path=${given.file},share=${given.share ? 'on' : 'off'}`];
}

function disks(format: 'qcow2' | 'raw'): string[] {
  const file = (filename: string, more: object) => ({ driver: 'file', filename, ...more });
  const given = (descriptor: number) => file(`/dev/fdset/${descriptor}`, { 'read-only': true, locking: 'off' });
  // A qcow2 that names another file in its header gets nothing of it.
  const base = { driver: format, file: given(3), ...(format === 'qcow2' ? { backing: null } : {}) };
  const blocks = [
    { 'node-name': 'base', 'read-only': true, ...base },
    { 'node-name': 'disk', driver: 'qcow2', discard: 'unmap', file: file(overlayFile, {}), backing: 'base' },
    { 'node-name': 'seed', driver: 'raw', 'read-only': true, file: given(4) },
  ];
  return [
    ...['-add-fd', 'fd=3,set=3', '-add-fd', 'fd=4,set=4'],
    ...blocks.flatMap((block) => ['-blockdev', JSON.stringify(block)]),
  ];
}

function kernel(boot: HardwareOptions['boot']): string[] {
  if (!boot) return [];
  const initrd = boot.initrd ? ['-initrd', '/dev/fd/6'] : [];
  return ['-kernel', '/dev/fd/5', ...initrd, '-append', boot.commandLine];
}
