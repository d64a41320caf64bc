import { type CloudosError, errorCode, messageOf } from '@cloudos/sdk';
import type { Terminal } from '../terminal.ts';

/** An error as a person should see it: what happened, its stable code, what to do. */
export function printFailure(terminal: Terminal, thrown: unknown, debug: boolean): void {
  const { red, dim } = terminal.noteColors;
  terminal.note(`${red('error:')} ${messageOf(thrown)}`);
  const code = errorCode(thrown);
  if (code !== undefined) {
    const { remedy, origin } = thrown as Partial<CloudosError>;
    terminal.note(`  ${dim('code')}  ${code}`);
    if (origin) terminal.note(`  ${dim('from')}  ${origin.plugin} (generation ${origin.generation})`);
    if (remedy) terminal.note(`  ${dim('do')}    ${remedy}`);
  } else if (typeof (thrown as { code?: unknown } | null)?.code === 'string') {
    terminal.note(`  ${dim('code')}  ${(thrown as { code: string }).code}`);
  }
  if (debug && thrown instanceof Error) terminal.note(dim(thrown.stack ?? ''));
}
