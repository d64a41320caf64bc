import pc from 'picocolors';

export type Colors = ReturnType<typeof pc.createColors>;

/** Where a command writes, and what that can show. */
export interface Terminal {
  /** One line of result. */
  line(text?: string): void;
  /** One line about the work: progress, warnings. */
  note(text: string): void;
  /** Bytes of result as they are. */
  write(chunk: string | Uint8Array): void;
  writeError(chunk: string | Uint8Array): void;
  readonly colors: Colors;
  /** For what is written by `note`, `writeError`. */
  readonly noteColors: Colors;
  readonly columns: number;
  readonly interactive: boolean;
  /** The work matters more than its output: go on when nobody reads any more (`up`, `down`). */
  goOnUnread(): void;
}

/** Colours for people only: not into a pipe, and not when NO_COLOR is set (no-color.org). */
export function wantsColor(isTTY: boolean | undefined, env: NodeJS.ProcessEnv): boolean {
  if (env.NO_COLOR !== undefined && env.NO_COLOR !== '') return false;
  if (env.FORCE_COLOR !== undefined && env.FORCE_COLOR !== '' && env.FORCE_COLOR !== '0') return true;
  return isTTY === true && env.TERM !== 'dumb';
}

export function processTerminal(): Terminal {
  const { stdout, stderr, env } = process;
  let goesOn = false;
  for (const stream of [stdout, stderr]) {
    // The reader of a pipe has left (`| head`): there is nobody to write for.
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error;
      if (!goesOn) process.exit(0);
    });
  }
  return {
    line: (text = '') => stdout.write(`${text}\n`),
    note: (text) => stderr.write(`${text}\n`),
    write: (chunk) => stdout.write(chunk),
    writeError: (chunk) => stderr.write(chunk),
    colors: pc.createColors(wantsColor(stdout.isTTY, env)),
    noteColors: pc.createColors(wantsColor(stderr.isTTY, env)),
    columns: stdout.columns ?? 120,
    interactive: stdout.isTTY === true,
    goOnUnread: () => {
      goesOn = true;
    },
  };
}
