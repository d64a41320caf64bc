import { shellWord } from '@cloudos/host-tools';
import { CloudosError, type ExecRequest, type ExecSession, type OutputChunk } from '@cloudos/sdk';
import { ReplaySubject } from 'rxjs';
import type { HostCommands } from './host-commands.ts';
import { tools } from './vmadm.ts';

/** Chunks that are kept for a subscriber that comes after the call; earlier ones are dropped past this. */
const outputChunksMax = 4096;

/** What dockerexec says before the command begins is at most this long; past it, it is taken for the command's. */
const preambleMaxBytes = 256 * 1024;

/** In a zone of the brand lx the programs of SmartOS are below /native. */
const dockerexec = { lx: '/native/usr/vm/sbin/dockerexec', 'joyent-minimal': '/usr/vm/sbin/dockerexec' } as const;

/**
 * Runs a command in a zone. zlogin(1) gives one string to a shell of the zone; dockerexec in it takes on the user, the
 * working directory and the environment that the zone was created with, and tells of it on standard error until the line
 * that ends with ` EXEC`. Without a terminal: zlogin makes one only of a terminal that it has itself.
 */
export function execInVm(
  commands: HostCommands,
  { uuid, brand }: { uuid: string; brand: string | undefined },
  request: ExecRequest,
): ExecSession {
  if (request.tty) {
    throw new CloudosError('GUEST_UNSUPPORTED', 'there is no terminal for commands in zones of SmartOS', {
      remedy: `run zlogin -i ${uuid} in a terminal of that machine`,
    });
  }
  const env = Object.entries(request.env ?? {}).map(([name, value]) => `${name}=${value}`);
  const variables = env.length > 0 ? ['/usr/bin/env', ...env] : [];
  const inside =
    request.workingDir === undefined
      ? request.command
      : ['/bin/sh', '-c', 'cd "$0" && exec "$@"', request.workingDir, ...request.command];
  const program = brand === 'lx' ? dockerexec.lx : dockerexec['joyent-minimal'];
  const line = [program, ...variables, ...inside].map(shellWord).join(' ');
  const process = commands.open([tools.zlogin, '-Q', uuid, line]);
  const output = new ReplaySubject<OutputChunk>(outputChunksMax);
  const preamble = new Preamble();
  process.onOutput((chunk) => {
    const data = chunk.stream === 'stderr' ? preamble.after(chunk.data) : chunk.data;
    if (data.length > 0) output.next({ stream: chunk.stream, data });
  });
  const exitCode = process.ended.then((code) => {
    const rest = preamble.rest();
    if (rest.length > 0) output.next({ stream: 'stderr', data: rest });
    output.complete();
    return code;
  });
  return {
    output: output.asObservable(),
    exitCode,
    write: (data) => process.write(data),
    end: () => process.end(),
    resize: () => {},
    kill: () => process.kill(),
  };
}

/** Takes away what dockerexec says before the command begins. */
class Preamble {
  #head: Buffer | undefined = Buffer.alloc(0);

  after(data: Uint8Array): Uint8Array {
    if (!this.#head) return data;
    this.#head = Buffer.concat([this.#head, data]);
    const mark = this.#head.indexOf('Z EXEC\n');
    if (mark < 0 && this.#head.length < preambleMaxBytes) return Buffer.alloc(0);
    const rest = mark < 0 ? this.#head : this.#head.subarray(mark + 'Z EXEC\n'.length);
    this.#head = undefined;
    return rest;
  }

  /** What it said of a command that never began. */
  rest(): Uint8Array {
    return this.#head ?? Buffer.alloc(0);
  }
}
