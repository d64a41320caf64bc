import type { ZoneMount } from './userland.ts';

/** Flags of mount(2) by their words in fstab(5): linux/mount.h. */
const flags: Readonly<Record<string, number>> = {
  ro: 0x1,
  nosuid: 0x2,
  nodev: 0x4,
  noexec: 0x8,
  noatime: 0x400,
  nodiratime: 0x800,
  relatime: 0x20_0000,
};
const bindFlags: Readonly<Record<string, number>> = { bind: 0x1000, rbind: 0x5000 };
const remountBind = 0x1020;

/** One mount as mount(2) takes it. `again` are flags of a second call on the same target, 0: none is needed. */
export interface MountCall {
  readonly source: string;
  readonly target: string;
  /** `disk`: by mount(8), which finds a loop device for the file; `data` are its options. */
  readonly type: string;
  readonly flags: number;
  readonly again: number;
  readonly data: string;
}

/** What mount(8) does for a line of fstab(5). The kernel takes no flag with a bind mount: they are set by a remount. */
export function mountCall({ source, target, type, options }: ZoneMount): MountCall {
  const words = options.split(',').filter(Boolean);
  if (words.includes('loop')) return { source, target, type: 'disk', flags: 0, again: 0, data: options };
  const bind = words.map((word) => bindFlags[word] ?? 0).reduce((all, bit) => all | bit, 0);
  const given = words.map((word) => flags[word] ?? 0).reduce((all, bit) => all | bit, 0);
  const data = words.filter((word) => flags[word] === undefined && bindFlags[word] === undefined).join(',');
  if (bind === 0) return { source, target, type, flags: given, again: 0, data };
  return { source, target, type: 'none', flags: bind, again: given === 0 ? 0 : remountBind | given, data: '' };
}
