import { withinDeadline } from '@cloudos/plugin-bus';
import { type Clock, type GuestAddress, messageOf, type Probe, type ProbeResult } from '@cloudos/sdk';
import type { GuestRuntime } from './guest-runtime.ts';
import { checkOverNetwork } from './health-check.ts';

export interface ProbeTarget {
  readonly instance: string;
  readonly runtime: GuestRuntime;
  readonly address: GuestAddress | undefined;
}

/** Carries out one probe: by the driver where it offers that, else over the network or by a command in the guest. */
export async function checkProbe(clock: Clock, target: ProbeTarget, probe: Probe): Promise<ProbeResult> {
  const { instance, runtime, address } = target;
  try {
    const driver = runtime.slot.active?.provider;
    if (driver?.probe) return await runtime.slot.call('probe', async () => driver.probe?.(instance, probe) ?? failed);
    if (probe.check.kind === 'exec') return await checkByExec(clock, target, probe.check.command, probe.timeoutMs);
    if (!address) return { ok: false, message: 'the guest has no address' };
    return await checkOverNetwork(probe.check, address, probe.timeoutMs);
  } catch (error) {
    return { ok: false, message: messageOf(error) };
  }
}

const failed: ProbeResult = { ok: false, message: 'the driver does not probe' };

async function checkByExec(
  clock: Clock,
  { instance, runtime }: ProbeTarget,
  command: readonly string[],
  timeoutMs: number,
): Promise<ProbeResult> {
  const session = await runtime.slot.call('exec', (driver) => driver.exec(instance, { command }));
  session.end();
  try {
    const exitCode = await withinDeadline(clock, `probe of ${instance}`, timeoutMs, () => session.exitCode);
    return { ok: exitCode === 0, message: `exit code ${exitCode}` };
  } catch (error) {
    session.kill();
    throw error;
  }
}
