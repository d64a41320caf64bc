import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import guestDocker from '@cloudos/guest-docker';
import { digest, findTool } from '@cloudos/host-tools';
import { counterImage, obstacleToTestImages } from '@cloudos/test-images';
import type { Bench } from './bench.ts';
import { firstAnswer, measureGuests, type Place, type ToolRound } from './guest-rounds.ts';

const run = promisify(execFile);

/** A container of an own engine, beside `docker run` of the same image with the same options at the same engine. */
const bench: Bench = {
  prefix: 'guest.docker',
  async run(options) {
    if (process.getuid?.() !== 0) return options.progress('passed over: a dockerd needs root (run as root)');
    const obstacle = obstacleToTestImages() ?? (findTool('docker') ? undefined : 'apt-get install docker.io');
    if (obstacle) return options.progress(`passed over: ${obstacle}`);
    await measureGuests(options, guestDocker, {
      name: 'guest.docker',
      config: { engine: 'own', pull: false },
      prepare: counterImage,
      tools: [{ name: 'docker', round: dockerRun }],
    });
  },
};
export default bench;

async function dockerRun({ dataDir }: Place, round: number): Promise<ToolRound> {
  const docker = async (...args: string[]) => {
    const host = `unix:///run/cloudos-docker-${digest(dataDir, 12)}/docker.sock`;
    return (await run('docker', ['--host', host, ...args])).stdout.trim();
  };
  const image = await docker('images', '--quiet', 'cloudos-store');
  const network = await docker('network', 'ls', '--quiet', '--filter', 'label=io.cloudos.owner');
  const name = `tool-${round}`;
  const limits = ['--cap-drop', 'ALL', '--security-opt', 'no-new-privileges', '--init'];
  const ports = ['--sysctl', 'net.ipv4.ip_unprivileged_port_start=0'];
  // Of the addresses of the node that guests get last.
  const subnet = await docker('network', 'inspect', '--format', '{{(index .IPAM.Config 0).Subnet}}', network);
  const address = subnet.replace(/\d+\/\d+$/, '250');
  const begun = performance.now();
  await docker('run', '--detach', '--name', name, '--network', network, '--ip', address, ...limits, ...ports, image);
  const startMs = performance.now() - begun;
  await firstAnswer(address, 80);
  const answerMs = performance.now() - begun;
  await docker('rm', '--force', name);
  return { startMs, answerMs };
}
