import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Task } from './task.ts';

const source = fileURLToPath(new URL('../../../dist/support/consumer/consumer-process.js', import.meta.url));
/** The same in one file: it starts in half the time, and it is started for each life. */
const program = fileURLToPath(new URL('../../../dist/support/consumer/consumer.mjs', import.meta.url));
/** Those that are starting while an earlier one runs: most of a life would be the start of Node.js. */
const waitingMax = 2;

/** One life of a consumer: a process that is killed. */
export interface Life {
  /** Resolves when it has said that. */
  said(mark: string, times: number): Promise<void>;
  /** Resolves, when it is gone, with all it said. */
  kill(): Promise<string>;
}

/** Processes that consume, one after the other. */
export class MortalConsumers {
  readonly #waiting: ChildProcess[] = [];
  readonly #all: ChildProcess[] = [];

  static async prepare(): Promise<MortalConsumers> {
    await build({
      ...{ entryPoints: [source], outfile: program, bundle: true, platform: 'node', format: 'esm', target: 'node20' },
      external: ['bufferutil', 'utf-8-validate'],
      banner: { js: `import{createRequire}from'node:module';const require=createRequire(import.meta.url);` },
      logLevel: 'error',
    });
    return new MortalConsumers();
  }

  begin(task: Task): Life {
    while (this.#waiting.length <= waitingMax) {
      const child = spawn(process.execPath, [program], { stdio: 'pipe' });
      this.#waiting.push(child);
      this.#all.push(child);
    }
    const child = this.#waiting.shift() as ChildProcess;
    child.stdin?.write(`${JSON.stringify(task)}\n`);
    return lifeOf(child);
  }

  end(): void {
    for (const child of this.#all) child.kill('SIGKILL');
  }
}

function lifeOf(child: ChildProcess): Life {
  let output = '';
  let errors = '';
  let look = () => {};
  const closed = once(child, 'close');
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    output += text;
    look();
  });
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  return {
    said: (mark, times) =>
      new Promise((resolve, reject) => {
        look = () => {
          if (output.split(mark).length > times) resolve();
        };
        child.once('exit', (code) => reject(new Error(`the consumer ended by itself (${code}): ${errors}`)));
        look();
      }),
    kill: async () => {
      child.kill('SIGKILL');
      await closed;
      if (child.signalCode !== 'SIGKILL') throw new Error(`the consumer ended by itself: ${errors}`);
      return output;
    },
  };
}
