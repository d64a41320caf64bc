import { expect, it } from 'vitest';
import { launchPlanText } from './launch-plan-text.ts';
import { mountCall } from './mount-calls.ts';

const mount = (options: string, type = 'none') => mountCall({ source: '/a', target: '/b', type, options });

it('sets the flags of a bind mount by a remount, as the kernel takes none with it', () => {
  expect(mount('bind')).toMatchObject({ flags: 0x1000, again: 0, data: '' });
  expect(mount('bind,ro,nosuid')).toMatchObject({ flags: 0x1000, again: 0x1020 | 0x3, data: '' });
  expect(mount('rbind,ro')).toMatchObject({ flags: 0x5000, again: 0x1021 });
});

it('gives what is no flag to the file system', () => {
  const expected = { type: 'tmpfs', flags: 0x6, again: 0, data: 'mode=1777,size=64m' };
  expect(mount('nosuid,nodev,mode=1777,size=64m', 'tmpfs')).toMatchObject(expected);
  expect(mount('ro,size=0', 'tmpfs')).toMatchObject({ flags: 0x1, data: 'size=0' });
  expect(mount('loop,nosuid', 'ext4')).toMatchObject({ type: 'disk', data: 'loop,nosuid' });
});

it('writes a plan as records, whatever words a command has', () => {
  const text = launchPlanText({
    launch: 'l',
    directory: '/d',
    exitFile: '/e',
    rootless: false,
    hostName: 'h',
    controlGroups: ['/g'],
    link: { bridge: 'br', name: 'cz', address: '198.18.0.2', mac: '02:42:c6:12:00:02', prefix: 23 },
    readOnlyCopy: false,
    logMaxBytes: 1,
    logSizes: { stdout: 0, stderr: 0 },
    root: { tool: (name) => [`/bin/${name}`], seccomp: ['/.zone/seccomp'] },
    mounts: [{ source: 'proc', target: '/t', type: 'proc', options: 'nosuid' }],
    user: 5,
    workingDir: '/',
    env: [['A', 'b\nc']],
    envOptions: [],
    path: '/bin',
    command: ['/bin/echo', '', 'two\nlines'],
  });
  const records: Record<string, string[]> = {};
  const fields = text.split('\0');
  while (fields.length > 1) {
    const [name = '', count] = fields.splice(0, 2);
    records[name] = fields.splice(0, Number(count));
  }
  expect(fields).toEqual(['']);
  expect(records.link).toEqual(['br', 'cz', '02:42:c6:12:00:02', '198.18.0.2', '255.255.254.0']);
  expect(records.mount).toEqual(['proc', '/t', 'proc', '2', '0', '']);
  expect(records.command?.slice(0, 2)).toEqual(['/.zone/seccomp', '/bin/sh']);
  expect(records.command?.slice(-5)).toEqual(['/bin', '/', '/bin/echo', '', 'two\nlines']);
  expect(text).not.toContain('b\nc');
  expect(records.user).toEqual(['5']);
});
