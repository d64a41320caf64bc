import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';

/** A registry of the distribution project on loopback, in plain HTTP. */
export class Registry {
  readonly address: string;
  readonly #directory: string;
  readonly #child: ChildProcess;

  private constructor(directory: string, address: string, child: ChildProcess) {
    this.#directory = directory;
    this.address = address;
    this.#child = child;
  }

  static async start(directory: string): Promise<Registry> {
    mkdirSync(directory, { recursive: true });
    const address = `127.0.0.1:${await freePort()}`;
    const config = {
      version: 0.1,
      log: { level: 'error', accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: join(directory, 'content') } },
      http: { addr: address },
    };
    const file = join(directory, 'config.yml');
    writeFileSync(file, JSON.stringify(config));
    const child = spawn('docker-registry', ['serve', file], { stdio: 'ignore' });
    const registry = new Registry(directory, address, child);
    for (const deadline = Date.now() + 60_000; ; ) {
      const answer = await fetch(`http://${address}/v2/`).catch(() => undefined);
      if (answer?.ok) return registry;
      if (child.exitCode !== null || Date.now() > deadline) throw new Error('the registry does not come up');
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Changes a byte of the largest blob that it keeps. */
  damage(): void {
    const files = readdirSync(this.#directory, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && entry.name === 'data')
      .map((entry) => join(entry.parentPath, entry.name));
    const contents = files.map((path) => ({ path, bytes: readFileSync(path) }));
    const [largest] = contents.sort((one, other) => other.bytes.length - one.bytes.length);
    if (!largest) throw new Error('the registry is empty');
    const middle = largest.bytes.length >> 1;
    largest.bytes[middle] = (largest.bytes[middle] ?? 0) ^ 1;
    writeFileSync(largest.path, largest.bytes);
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exit = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await exit;
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
