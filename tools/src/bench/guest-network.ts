import { readFileSync } from 'node:fs';
import path from 'node:path';
import { toolPath } from '@cloudos/host-tools';

/** The bridge that a driver of the bench has made, and an address on it for a guest made by hand. */
export interface BenchNetwork {
  readonly bridge: string;
  /** Of the addresses of the node that guests get last. */
  readonly address: string;
  readonly prefix: string;
}

export function benchNetwork(stateDir: string): BenchNetwork {
  const file = path.join(stateDir, 'network/bench/network.json');
  const { bridge, subnet } = JSON.parse(readFileSync(file, 'utf8')) as { bridge: string; subnet: string };
  const [first = '', prefix = ''] = subnet.split('/');
  return { bridge, prefix, address: first.replace(/\d+$/, '250') };
}

/** Lines of sh that put a cable from the bridge into the network namespace of the process `$pid`, with the address. */
export function cableLines(link: string, { bridge, address, prefix }: BenchNetwork): string {
  return `ip -batch - <<NET
link add ${link} master ${bridge} up type veth peer name eth0 netns $pid
NET
nsenter -t "$pid" -n ip -batch - <<NET
link set lo up
address add ${address}/${prefix} dev eth0
link set eth0 up
NET`;
}

/** Lines of sh that make a tap for a virtual machine in the network namespace of the process `$pid`, joined with the bridge. */
export function tapLines(link: string, { bridge }: BenchNetwork, tap: string, user: number): string {
  return `ip -batch - <<NET
link add ${link} master ${bridge} up type veth peer name eth0 netns $pid
NET
nsenter -t "$pid" -n ip -batch - <<NET
link add br0 type bridge forward_delay 0 mcast_snooping 0
link set eth0 master br0 up
tuntap add dev ${tap} mode tap user ${user}
link set ${tap} master br0 up
link set br0 up
link set lo up
NET`;
}

/** Lines of sh for a hook of OCI (its state is on standard input) that leave the pid of the container in `$pid`. */
export const pidOfHook = `read -r state || :
pid=\${state##*'"pid":'}
pid=\${pid%%[!0-9]*}`;

/** A hook of OCI that runs sh on that text, when the namespaces are there and before the program. */
export function shellHook(text: string): object {
  const script = `set -e\n${pidOfHook}\n${text}`;
  return { path: '/bin/sh', args: ['sh', '-c', script], env: [`PATH=${toolPath}`] };
}
