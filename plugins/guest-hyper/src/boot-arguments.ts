import { readFile } from 'node:fs/promises';
import { runCommand } from '@cloudos/host-tools';

/**
 * What a machine of one guest has no use for costs each clone the translation of its code: security modules beside
 * capabilities, auditing, pressure statistics, addresses that nobody gives out.
 */
export const kernelArguments = [
  ...['console=ttyS0', 'quiet', 'loglevel=3', 'panic=-1', 'reboot=t', 'random.trust_cpu=on'],
  ...['ipv6.disable_ipv6=1', 'lsm=landlock', 'audit=0', 'psi=0', 'rcupdate.rcu_expedited=1'],
].join(' ');

/**
 * The frequency of the time stamp counter: without it Linux calibrates against a timer, and early boots on microvm hang
 * now and then with no tick (6 of 25 were seen). TCG's counter runs as the host's.
 */
export async function acceleratorArguments(accelerator: 'kvm' | 'tcg'): Promise<string> {
  if (accelerator === 'kvm') return '';
  // Under TCG nothing is speculated, and what guards against it is code like any other.
  const none = 'mitigations=off';
  const said = await runCommand('/bin/dmesg', []).catch(() => '');
  const info = await readFile('/proc/cpuinfo', 'utf8');
  const megahertz = /tsc: Detected ([\d.]+) MHz/.exec(said)?.[1] ?? /cpu MHz\s*:\s*([\d.]+)/.exec(info)?.[1];
  return megahertz === undefined ? none : `${none} tsc_early_khz=${Math.round(Number(megahertz) * 1000)}`;
}
