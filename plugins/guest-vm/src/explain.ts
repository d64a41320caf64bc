import { signalName } from '@cloudos/host-tools';
import type { QemuEnd } from '@cloudos/qemu';
import type { GuestExit } from '@cloudos/sdk';

const consoleMaxChars = 500;
const killedStatus = 137;

/**
 * What the end of QEMU means.
 * @param record what the agent told of the program's end: `end <code> <signal> <kills for memory>`
 * @param console what the machine said
 */
export async function explainEnd(
  record: string,
  end: QemuEnd,
  console: () => Promise<string>,
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
  if (end.status === 0) {
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
