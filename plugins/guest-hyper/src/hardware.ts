/** All disks look alike: their size is part of the state of a machine. */
export const diskBytes = 4 * 2 ** 30;

/** The devices of every machine; the memory, chardevs, the block node `disk` and the netdev `n0` come from the caller. */
export function hardware(accelerator: 'kvm' | 'tcg', memoryMiB: number, ram: string, share: boolean): string[] {
  const port = (nr: number, chardev: string, name: string) => [
    '-device',
    `virtserialport,bus=serial.0,nr=${nr},chardev=${chardev},name=${name}`,
  ];
  return [
    ...['-M', 'microvm,acpi=on,x-option-roms=off,rtc=on,memory-backend=ram', '-m', `${memoryMiB}M`],
    ...['-object', `memory-backend-file,id=ram,size=${memoryMiB}M,mem-path=${ram},share=${share ? 'on' : 'off'}`],
    ...['-accel', accelerator === 'tcg' ? 'tcg,tb-size=64' : 'kvm', '-cpu', accelerator === 'tcg' ? 'qemu64' : 'host'],
    ...['-smp', '1', '-no-reboot', '-global', 'virtio-mmio.force-legacy=false'],
    ...['-serial', 'chardev:console', '-device', 'isa-debug-exit,iobase=0xf4,iosize=4'],
    ...['-device', 'virtio-serial-device,id=serial,max_ports=8'],
    ...port(1, 'agent', 'agent'),
    ...port(2, 'out', 'stdout'),
    ...port(3, 'err', 'stderr'),
    ...port(4, 'end', 'end'),
    ...['-device', 'virtio-blk-device,drive=disk'],
    ...['-device', 'virtio-net-device,netdev=n0,mac=52:54:00:00:00:01,guest_announce=off'],
  ];
}

/** A read-only disk from a file. */
export function rootDisk(file: string): string[] {
  return [
    '-blockdev',
    `driver=raw,node-name=disk,read-only=on,file.driver=file,file.filename=${file},file.locking=off`,
  ];
}
