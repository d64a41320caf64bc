import { withinDeadline } from '@cloudos/plugin-bus';
import {
  type Clock,
  type GuestAddress,
  type GuestDriver,
  hasCode,
  messageOf,
  type Probe,
  type ProbeResult,
} from '@cloudos/sdk';
import type { GuestRuntime } from './guest-runtime.ts';
import { checkOverNetwork } from './health-check.ts';

export interface ProbeTarget {
  readonly instance: string;
  readonly runtime: GuestRuntime;
  readonly address: GuestAddress | undefined;
  /** Which container, where the guest has several. Absent: the first. */
  readonly container?: string;
}

/**
 * Carries out one probe: by the driver where it offers that, else over the network or by a command in the guest.
 * Undefined while the driver is down: that says nothing about the guest.
 */
export async function checkProbe(clock: Clock, target: ProbeTarget, probe: Probe): Promise<ProbeResult | undefined> {
  const { runtime, address } = target;
  try {
    const driver = runtime.slot.active?.provider;
    if (driver?.probe) return await byDriver(clock, target, driver, probe);
    if (probe.check.kind === 'exec') return await checkByExec(clock, target, probe.check.command, probe.timeoutMs);
    if (!address) return { ok: false, message: 'the guest has no address' };
    return await checkOverNetwork(probe.check, address, probe.timeoutMs);
  } catch (error) {
    if (isDriverDown(error)) return undefined;
    return { ok: false, message: messageOf(error) };
  }
}

/** Within the time of the probe: one that is slow fails, and the driver is not blamed for it. */
async function byDriver(
  clock: Clock,
  { instance }: ProbeTarget,
  driver: GuestDriver,
  probe: Probe,
): Promise<ProbeResult> {
  try {
    const probing = async () => driver.probe?.(instance, probe) ?? { ok: false, message: 'the driver does not probe' };
    return await withinDeadline(clock, `probe of ${instance}`, probe.timeoutMs, probing);
  } catch (error) {
    return { ok: false, message: messageOf(error) };
  }
}

/** True when the driver was not there to answer, as opposed to having answered with a failure. */
export function isDriverDown(error: unknown): boolean {
  return hasCode(error, 'SLOT_EMPTY') || hasCode(error, 'PLUGIN_TIMEOUT') || hasCode(error, 'PLUGIN_FAILED');
}

async function checkByExec(
  clock: Clock,
  { instance, runtime, container }: ProbeTarget,
  command: readonly string[],
  timeoutMs: number,
): Promise<ProbeResult> {
  const request = { command, ...(container === undefined ? {} : { container }) };
  const session = await runtime.slot.call('exec', (driver) => driver.exec(instance, request));
  session.end();
  try {
    const exitCode = await withinDeadline(clock, `probe of ${instance}`, timeoutMs, () => session.exitCode);
    return { ok: exitCode === 0, message: `exit code ${exitCode}` };
  } catch (error) {
    session.kill();
    return { ok: false, message: messageOf(error) };
  }
}
