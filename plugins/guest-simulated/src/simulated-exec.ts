import { type Clock, CloudosError, type ExecRequest, type ExecSession, type OutputChunk } from '@cloudos/sdk';
import { ReplaySubject } from 'rxjs';
import { bytesOf, type PrintedLine, readProgram } from './simulated-program.ts';
import type { SimulatedGuest } from './simulated-world.ts';

/** How many chunks of output a session keeps for those who subscribe late. */
const chunksMax = 1_000;

/**
 * Executes a command in a guest by the conventions of programs; besides, `set <key> <value>` and `get <key>` write and
 * read the memory that snapshots save, and `stty size` prints the size of the terminal.
 * @throws CloudosError COMMAND_NOT_FOUND for anything else
 */
export function executeIn(guest: SimulatedGuest, request: ExecRequest, clock: Clock): ExecSession {
  const variables = { ...variablesOf(guest), ...request.env };
  const program =
    ownCommand(guest, request) ??
    readProgram(request.command, {
      hostname: guest.spec.instance,
      variables,
      workingDir: request.workingDir,
      limits: guest.spec.template.limits,
    });
  const absent = program.missing ?? program.unknown;
  if (absent !== undefined || request.command.length === 0) {
    throw new CloudosError(
      'COMMAND_NOT_FOUND',
      `guest ${guest.spec.instance}: no command ${JSON.stringify(absent ?? '')}; simulated guests know echo, env, cat, sleep, exit, set, get and sh -c`,
    );
  }
  const output = new ReplaySubject<OutputChunk>(chunksMax);
  const encode = (line: PrintedLine): OutputChunk => ({
    stream: request.tty ? 'stdout' : line.stream,
    data: bytesOf(line),
  });
  let finish: (code: number) => void = () => {};
  const exitCode = new Promise<number>((resolve) => {
    let ended = false;
    finish = (code) => {
      if (ended) return;
      ended = true;
      output.complete();
      resolve(code);
    };
  });
  for (const line of program.prints) output.next(encode(line));
  const code = program.end?.exitCode ?? 128;
  if (program.end && !program.copiesInput) {
    if (program.end.afterMs > 0) clock.after(program.end.afterMs, () => finish(code));
    else finish(code);
  }
  return {
    output: output.asObservable(),
    exitCode,
    async write(data) {
      if (program.copiesInput) output.next({ stream: 'stdout', data });
    },
    end() {
      if (program.copiesInput) finish(code);
    },
    resize() {},
    kill: () => finish(137),
  };
}

export function variablesOf(guest: SimulatedGuest): Record<string, string> {
  return Object.fromEntries(
    guest.spec.template.env.flatMap((variable) => ('value' in variable ? [[variable.name, variable.value]] : [])),
  );
}

/** Commands that only make sense in a running guest. */
function ownCommand(guest: SimulatedGuest, { command, tty }: ExecRequest) {
  const [name, key = '', value = ''] = command;
  const found = guest.memory?.get(key);
  switch (name) {
    case 'set':
      guest.memory ??= new Map();
      guest.memory.set(key, value);
      return answer(0);
    case 'get':
      return found === undefined ? answer(1) : answer(0, found);
    case 'stty':
      return tty ? answer(0, `${tty.rows} ${tty.columns}`) : answer(1);
    default:
      return undefined;
  }
}

function answer(exitCode: number, text?: string) {
  const prints: PrintedLine[] = text === undefined ? [] : [{ stream: 'stdout', text }];
  return { prints, end: { exitCode, afterMs: 0 }, copiesInput: false, missing: undefined, unknown: undefined };
}
