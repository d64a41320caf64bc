import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type FileHandle, mkdir, open, rm } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { hardware, rootDisk } from '@cloudos/guest-hyper';
import { digest, findTool } from '@cloudos/host-tools';
import { AgentConnection, beginAsCopy, netdev, QmpClient, types } from '@cloudos/qemu';
import { type BenchNetwork, benchNetwork } from './guest-network.ts';
import { firstAnswer, type Place, type Tool } from './guest-rounds.ts';

const run = promisify(execFile);
const startMaxMs = 20_000;
const qemu = 'qemu-system-x86_64';

/**
 * A clone by hand: QEMU with the hardware, the disk and the template of the driver's guests, told by the protocol of the
 * agent what to run. It has no user of its own, no control groups, no logs, and nobody who waits for its end.
 */
export function cloneTool(memoryMiB: number): Tool {
  return {
    name: 'bare-clone',
    missing: findTool(qemu) ? undefined : 'apt-get install qemu-system-x86',
    async round(place, round) {
      const network = benchNetwork(place.stateDir);
      const link = `bn${digest(place.dataDir, 10)}`;
      const work = path.join(path.dirname(place.dataDir), `clone-${round < 0 ? 'first' : round}`);
      const { disk, memory, state } = await partsOf(place);
      const begun = performance.now();
      await mkdir(work);
      const files = await Promise.all([disk, memory].map((file) => open(file, 'r')));
      let child: ChildProcess | undefined;
      try {
        const lines = `tuntap add dev ${link} mode tap\nlink set ${link} master ${network.bridge} up\n`;
        const plugged = run('ip', ['-batch', '-']);
        plugged.child.stdin?.end(lines);
        await plugged;
        child = spawn(qemu, machine(link, memoryMiB), {
          cwd: work,
          stdio: ['ignore', 'ignore', 'ignore', ...fds(files)],
        });
        await begin(work, state, network);
        const startMs = performance.now() - begun;
        await firstAnswer(network.address, 80);
        return { startMs, answerMs: performance.now() - begun, memoryMb: memoryOf(child) };
      } finally {
        child?.kill('SIGKILL');
        if (child?.pid !== undefined && child.exitCode === null) await once(child, 'exit');
        for (const file of files) await file.close();
        await run('ip', ['link', 'delete', link]).catch(() => {});
        await rm(work, { recursive: true, force: true });
      }
    },
  };
}

function fds(files: readonly FileHandle[]): number[] {
  return files.map(({ fd }) => fd);
}

/** What the driver has made for the image, which is the only one. */
async function partsOf({ dataDir, store }: Place): Promise<{ disk: string; memory: string; state: string }> {
  const image = await store.resolve('counter:1');
  if (image.kind === 'host') throw new Error('counter:1 is an image');
  const form = await store.derive(image.digest, 'squashfs-4g', () => Promise.reject(new Error('there is no disk')));
  const templates = path.join(dataDir, 'templates/images');
  const [template = ''] = readdirSync(templates);
  const file = (name: string) => path.join(templates, template, name);
  return { disk: path.join(form, 'disk'), memory: file('memory'), state: file('state') };
}

function machine(link: string, memoryMiB: number): string[] {
  const file = (id: string) => ['-chardev', `file,id=${id},path=${id}`];
  return [
    ...['-nodefaults', '-no-user-config', '-display', 'none'],
    ...['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny'],
    ...['-chardev', 'socket,id=qmp,path=qmp,server=on,wait=off', '-mon', 'chardev=qmp,mode=control'],
    ...['-chardev', 'socket,id=agent,path=agent,server=on,wait=off'],
    ...['out', 'err', 'end', 'console'].flatMap(file),
    ...netdev(link, [], false),
    ...rootDisk('/dev/fd/3'),
    ...hardware('tcg', memoryMiB, 0, '/dev/fd/4', false),
    ...['-S', '-incoming', 'defer'],
  ];
}

async function begin(work: string, state: string, { address, prefix }: BenchNetwork): Promise<void> {
  const qmp = await QmpClient.connect(path.join(work, 'qmp'), { timeoutMs: startMaxMs });
  const agent = await AgentConnection.open(path.join(work, 'agent'));
  try {
    await beginAsCopy(qmp, work, state);
  } finally {
    qmp.close();
  }
  const fields = {
    time: String(Date.now() * 1000),
    entropy: randomBytes(32).toString('hex'),
    hostname: 'clone',
    ip: address,
    prefix,
    gateway: address.replace(/\d+$/, '1'),
    mac: '52:54:00:be:00:01',
    arg: '/counter',
    env: 'PATH=/',
    cwd: '/',
    user: '0',
  };
  await agent.ask(types.boot, 0, Object.entries(fields), types.started, startMaxMs);
  agent.close();
}

/** Proportional memory of a process. */
function memoryOf({ pid }: ChildProcess): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return (Number(/^Pss:\s+(\d+)/m.exec(text)?.[1]) * 1024) / 1e6;
}
