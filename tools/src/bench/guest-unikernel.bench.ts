import { execFile, execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import guestUnikernel from '@cloudos/guest-unikernel';
import { DetachedDaemon, findTool, unmountBelow } from '@cloudos/host-tools';
import { type ImageStore, importImage } from '@cloudos/images';
import type { Bench, BenchOptions } from './bench.ts';
import { measureGuests } from './guest-rounds.ts';
import { bareTool, dockerTool, runcTool, scriptTool } from './guest-unikernel-tools.ts';

const run = promisify(execFile);
const engineUpMaxMs = 30_000;
const engineDownMaxMs = 15_000;

/**
 * Unikernels in containers of an engine, in containers of runc and as processes of the host; beside `docker run` and
 * `runc run` of the same container with the same command of QEMU, and beside a bare QEMU.
 */
const bench: Bench = {
  prefix: 'guest.unikernel',
  async run(options) {
    const { workDir, progress } = options;
    if (process.getuid?.() !== 0) return progress('passed over: guests get addresses from root (run as root)');
    const source = path.dirname(fileURLToPath(import.meta.resolve('@cloudos/guest-unikernel/package.json')));
    execFileSync('make', ['-s', '-C', path.join(source, 'unikernel'), `OUT=${workDir}`]);
    const elf = path.join(workDir, 'counter.elf');
    const prepare = (store: ImageStore) =>
      importImage(store, { from: elf, form: 'unikernel' }, { reference: 'counter:1' });
    const subject = { prepare, answerMaxMs: 150, roundsMaxMs: 45_000 };
    await measureGuests(options, guestUnikernel, {
      ...subject,
      name: 'guest.unikernel',
      config: { carrier: 'runc' },
      tools: [runcTool(elf), bareTool(elf)],
    });
    await measureGuests(options, guestUnikernel, {
      prepare,
      roundsMaxMs: 45_000,
      name: 'guest.unikernel.bare',
      config: { carrier: 'bare' },
      tools: [scriptTool(elf), bareTool(elf)],
    });
    await withEngine(options, async (socket) => {
      await measureGuests(options, guestUnikernel, {
        ...subject,
        name: 'guest.unikernel.docker',
        config: { carrier: 'docker', docker: { socket } },
        tools: [dockerTool(elf, socket), bareTool(elf)],
      });
    });
  },
};
export default bench;

/** A Docker Engine of the bench's own. */
async function withEngine({ workDir, progress }: BenchOptions, use: (socket: string) => Promise<void>): Promise<void> {
  const program = findTool('dockerd');
  if (!program || !findTool('docker')) return progress('guest.unikernel.docker passed over: apt-get install docker.io');
  const directory = path.join(workDir, 'engine');
  const socket = path.join(directory, 's');
  const flags = ['--bridge=none', '--iptables=false', '--ip-masq=false', '--userland-proxy=false'];
  const places = ['--data-root', `${directory}/d`, '--exec-root', `${directory}/e`, '--pidfile', `${directory}/pid`];
  const daemon = new DetachedDaemon({
    program,
    args: [...flags, ...places, '--host', `unix://${socket}`],
    logFile: path.join(directory, 'log'),
    identityFile: path.join(directory, 'identity'),
  });
  try {
    await daemon.ensure(() => run('docker', ['--host', `unix://${socket}`, 'version']), engineUpMaxMs);
    await use(socket);
  } finally {
    await daemon.stop(engineDownMaxMs);
    await unmountBelow(directory);
  }
}
