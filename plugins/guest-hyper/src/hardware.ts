/** All disks look alike: their size is part of the state of a machine. */
export const diskBytes = 4 * 2 ** 30;

/** Ports of a machine with one container, and with several. */
const ports = { few: 8, many: 16 } as const;

/**
 * The devices of every machine; the memory, chardevs, block nodes (`disk`, `disk1`, …) and the netdev `n0` come from the
 * caller. A machine has a disk and two ports for each container; the numbers are those that the agent knows.
 * @param containers how many beside the first
 * @param ram a file; undefined: memory of its own, which others can be given
 */
export function hardware(
  accelerator: 'kvm' | 'tcg',
  memoryMiB: number,
  containers: number,
  ram: string | undefined,
  share: boolean,
): string[] {
  const further = Array.from({ length: containers }, (_, index) => index + 1);
  const port = (nr: number, chardev: string, name: string) => [
    '-device',
    `virtserialport,bus=serial.0,nr=${nr},chardev=${chardev},name=${name}`,
  ];
  const memory = ram === undefined ? 'memory-backend-memfd' : `memory-backend-file,mem-path=${ram}`;
  return [
    ...['-M', 'microvm,acpi=on,x-option-roms=off,rtc=on,memory-backend=ram', '-m', `${memoryMiB}M`],
    ...['-object', `${memory},id=ram,size=${memoryMiB}M,share=${share ? 'on' : 'off'}`],
    ...['-accel', accelerator === 'tcg' ? 'tcg,tb-size=64' : 'kvm', '-cpu', accelerator === 'tcg' ? 'qemu64' : 'host'],
    ...['-smp', '1', '-no-reboot', '-global', 'virtio-mmio.force-legacy=false'],
    ...['-serial', 'chardev:console', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
    ...['-device', `virtio-serial-device,id=serial,max_ports=${containers > 0 ? ports.many : ports.few}`],
    ...port(1, 'agent', 'agent'),
    ...port(2, 'out', 'stdout'),
    ...port(3, 'err', 'stderr'),
    ...port(4, 'end', 'end'),
    ...further.flatMap((n) => [
      ...port(3 + 2 * n, `out${n}`, `stdout${n}`),
      ...port(4 + 2 * n, `err${n}`, `stderr${n}`),
    ]),
    ...['-device', 'virtio-blk-device,drive=disk'],
    ...further.flatMap((n) => ['-device', `virtio-blk-device,drive=disk${n}`]),
    ...['-device', 'virtio-net-device,netdev=n0,mac=52:54:00:00:00:01,guest_announce=off'],
  ];
}

/** A read-only disk from a file, for the container with that number. */
export function rootDisk(file: string, container = 0): string[] {
  const node = container === 0 ? 'disk' : `disk${container}`;
  return [
    '-blockdev',
    `driver=raw,node-name=${node},read-only=on,file.driver=file,file.filename=${file},file.locking=off`,
  ];
}
