import type { CloudosClient } from '@cloudos/client';
import type { OutputChunk } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { instancesOf } from '../instance-names.ts';
import { sinceMs, wholeNumber } from '../options.ts';
import type { Terminal } from '../terminal.ts';

interface LogsOptions {
  readonly follow?: boolean;
  readonly tail?: number;
  readonly since?: number;
  readonly container?: string;
}

export function addLogs(program: Command, context: CliContext): void {
  program
    .command('logs')
    .description('print the output of an instance, or of every instance of a workload')
    .argument('<name>', 'instance or workload')
    .option('-f, --follow', 'go on as output comes')
    .option('--tail <lines>', 'only the last lines', wholeNumber(0, 1_000_000))
    .option('--since <time>', 'only what was written since: how long ago, or when', (text: string) =>
      sinceMs(text, Date.now()),
    )
    .option('-c, --container <name>', 'which container, where the instance has several; else the first')
    .addHelpText(
      'after',
      '\nExamples:\n  cloudos logs web-5d9f-1\n  cloudos logs -f web --tail 10\n  cloudos logs web --since 5m',
    )
    .action(async (name: string, options: LogsOptions) => {
      const { client } = await connect(context);
      const names = (await instancesOf(client, name)).map(({ instance }) => instance);
      const width = Math.max(...names.map((each) => each.length));
      await Promise.all(
        names.map((each) =>
          follow(
            client,
            each,
            options,
            names.length > 1 ? new Prefixed(context.terminal, each.padEnd(width)) : context.terminal,
          ),
        ),
      );
    });
}

type Sink = Pick<Terminal, 'write' | 'writeError'> & { end?(): void };

async function follow(client: CloudosClient, instance: string, options: LogsOptions, sink: Sink): Promise<void> {
  const request = {
    ...(options.follow ? { follow: true } : {}),
    ...(options.tail === undefined ? {} : { tailLines: options.tail }),
    ...(options.container === undefined ? {} : { container: options.container }),
    ...(options.since === undefined ? {} : { since: options.since }),
  };
  for await (const { stream, data } of client.logs(instance, request)) {
    if (stream === 'stdout') sink.write(data);
    else sink.writeError(data);
  }
  sink.end?.();
}

/** Puts the name of the instance before each line. */
class Prefixed implements Sink {
  readonly #terminal: Terminal;
  readonly #name: string;
  readonly #rest: Record<OutputChunk['stream'], string> = { stdout: '', stderr: '' };
  readonly #decoders = { stdout: new TextDecoder(), stderr: new TextDecoder() };

  constructor(terminal: Terminal, name: string) {
    this.#terminal = terminal;
    this.#name = name;
  }

  write(chunk: string | Uint8Array): void {
    this.#lines('stdout', chunk);
  }

  writeError(chunk: string | Uint8Array): void {
    this.#lines('stderr', chunk);
  }

  end(): void {
    for (const stream of ['stdout', 'stderr'] as const)
      if (this.#rest[stream] !== '') this.#print(stream, this.#rest[stream]);
  }

  #lines(stream: OutputChunk['stream'], chunk: string | Uint8Array): void {
    const text = typeof chunk === 'string' ? chunk : this.#decoders[stream].decode(chunk, { stream: true });
    const lines = (this.#rest[stream] + text).split('\n');
    this.#rest[stream] = lines.pop() ?? '';
    for (const line of lines) this.#print(stream, line);
  }

  #print(stream: OutputChunk['stream'], line: string): void {
    const { colors, noteColors } = this.#terminal;
    if (stream === 'stdout') this.#terminal.write(`${colors.dim(`${this.#name} |`)} ${line}\n`);
    else this.#terminal.writeError(`${noteColors.dim(`${this.#name} |`)} ${line}\n`);
  }
}
