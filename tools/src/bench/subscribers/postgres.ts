import { execFileSync } from 'node:child_process';
import { chownSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { commandPath, startServer } from './processes.ts';

const port = 45_432;

/** A PostgreSQL of its own with its default settings (`fsync` on), or undefined where it is not installed. */
export async function startPostgres(): Promise<{ pool(max: number): pg.Pool; end(): Promise<void> } | undefined> {
  const [initdb, postgres] = [commandPath('initdb'), commandPath('postgres')];
  if (!initdb || !postgres) return undefined;
  // Its own account has to reach it, which a directory of root's within another does not allow.
  const data = mkdtempSync(join(tmpdir(), 'cloudos-bench-pg-'));
  // It refuses to run as root.
  const owner = process.getuid?.() === 0 ? accountOf('postgres') : undefined;
  if (owner) chownSync(data, owner.uid, owner.gid);
  execFileSync(initdb, ['-D', data, '-U', 'bench', '--auth=trust'], { stdio: 'ignore', ...owner });
  const args = [
    '-D',
    data,
    '-p',
    String(port),
    '-c',
    'listen_addresses=127.0.0.1',
    '-c',
    `unix_socket_directories=${data}`,
  ];
  const stop = await startServer(postgres, args, port, owner ?? {});
  await answers();
  const pools: pg.Pool[] = [];
  return {
    pool(max) {
      const pool = new pg.Pool({ host: '127.0.0.1', port, user: 'bench', database: 'postgres', max });
      pools.push(pool);
      return pool;
    },
    async end() {
      for (const pool of pools) await pool.end();
      await stop();
      rmSync(data, { recursive: true, force: true });
    },
  };
}

/** It listens before it takes queries. */
async function answers(): Promise<void> {
  for (let tries = 0; ; tries++) {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'bench', database: 'postgres' });
    client.on('error', () => {});
    try {
      await client.connect();
      return await client.end();
    } catch (error) {
      if (tries >= 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

function accountOf(name: string): { uid: number; gid: number } {
  const id = (flag: string) => Number(execFileSync('id', [flag, name]).toString());
  return { uid: id('-u'), gid: id('-g') };
}
