import { signalName } from '@cloudos/host-tools';
import type { GuestExit } from '@cloudos/sdk';
import type { QemuEnd } from './carrier.ts';

const consoleMaxChars = 500;
const killedStatus = 137;

/**
 * What the end of a QEMU with an agent in it means.
 * @param record what the agent told of the program's end: `end <code> <signal> <kills for memory>`
 * @param console what the machine said
 * @param powersOff there is a system in it that may turn it off by itself; else an end without a record is none of a program
 */
export async function explainEnd(
  record: string,
  end: QemuEnd,
  console: () => Promise<string>,
  { powersOff }: { readonly powersOff: boolean },
): Promise<Omit<GuestExit, 'instance' | 'attempt'>> {
  const [, code = '', signal = '', kills = ''] = /^end (-?\d{1,3}) (\d{1,2}) (\d{1,9})$/m.exec(record) ?? [];
  const name = signalName(Number(signal));
  if (code !== '' && name) {
    const outOfMemory = name === 'SIGKILL' && Number(kills) > 0;
    const reason = outOfMemory ? 'oom-killed' : 'signalled';
    const message = outOfMemory ? { message: 'over the memory of its machine' } : {};
    return { exitCode: null, signal: name, reason, ...message };
  }
  if (code !== '') return { exitCode: Number(code), signal: null, reason: 'exited' };
  if (powersOff && end.status === 0) {
    return { exitCode: 0, signal: null, reason: 'exited', message: 'the machine shut itself down' };
  }
  if (end.status === killedStatus) {
    const reason = end.oomKills > 0 ? 'oom-killed' : 'signalled';
    const message = end.oomKills > 0 ? 'QEMU was over the memory of its control group' : 'QEMU was killed';
    return { exitCode: null, signal: 'SIGKILL', reason, message };
  }
  const said = (await console()).trim().slice(-consoleMaxChars);
  const message = `the machine ended without telling how (status ${end.status})${said ? `: ${said}` : ''}`;
  return { exitCode: null, signal: null, reason: 'lost', message };
}
