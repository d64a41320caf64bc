import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import guestLxd from '@cloudos/guest-lxd';
import { digest, findTool } from '@cloudos/host-tools';
import { counterImage, obstacleToTestImages } from '@cloudos/test-images';
import type { Bench } from './bench.ts';
import { firstAnswer, measureGuests, type Place, type ToolRound } from './guest-rounds.ts';

const run = promisify(execFile);

/** An instance of an own daemon, beside `lxc launch` of the same image with the program as its first process. */
const bench: Bench = {
  prefix: 'guest.lxd',
  async run(options) {
    if (process.getuid?.() !== 0) return options.progress('passed over: an lxd needs root (run as root)');
    const obstacle = obstacleToTestImages() ?? (findTool('lxd') && findTool('lxc') ? undefined : 'apt-get install lxd');
    if (obstacle) return options.progress(`passed over: ${obstacle}`);
    await measureGuests(options, guestLxd, {
      name: 'guest.lxd',
      config: { daemon: 'own' },
      prepare: counterImage,
      tools: [{ name: 'lxc', round: lxcLaunch }],
    });
  },
};
export default bench;

async function lxcLaunch({ dataDir, stateDir }: Place, round: number): Promise<ToolRound> {
  const env = {
    ...process.env,
    LXD_DIR: `/var/lib/cloudos-lxd-${digest(dataDir, 12)}`,
    LXD_CONF: path.join(dataDir, 'lxc'),
  };
  const lxc = async (...args: string[]) => (await run('lxc', args, { env })).stdout.trim();
  const [image = ''] = (await lxc('image', 'list', '--format', 'csv', '--columns', 'F')).split('\n');
  const network = JSON.parse(readFileSync(path.join(stateDir, 'network/bench/network.json'), 'utf8')) as {
    bridge: string;
    subnet: string;
  };
  // Of the addresses of the node that guests get last.
  const address = network.subnet.replace(/\d+\/(\d+)$/, '250');
  const prefix = network.subnet.split('/')[1];
  const raw = ['lxc.init.cmd = /counter', `lxc.net.0.ipv4.address = ${address}/${prefix}`].join('\n');
  const config = JSON.stringify({
    config: { 'raw.lxc': raw },
    devices: {
      root: { type: 'disk', path: '/', pool: 'default' },
      eth0: { type: 'nic', nictype: 'bridged', parent: network.bridge, name: 'eth0' },
    },
  });
  const name = `tool-${round < 0 ? 'first' : round}`;
  const begun = performance.now();
  const launch = spawn('lxc', ['launch', image, name, '--no-profiles', '--quiet'], {
    env,
    stdio: ['pipe', 'ignore', 'inherit'],
  });
  launch.stdin.end(config);
  const [code] = await once(launch, 'exit');
  if (code !== 0) throw new Error(`lxc launch ended with ${code}`);
  const startMs = performance.now() - begun;
  await firstAnswer(address, 80);
  const answerMs = performance.now() - begun;
  await lxc('delete', '--force', name);
  return { startMs, answerMs };
}
