import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { event, type RecordedEvent } from '@cloudos/sdk';
import pc from 'picocolors';
import { describe, expect, it } from 'vitest';
import { clusterView, instanceView, workloadView } from '../spec-kit.ts';
import { FileLogger, logFileMaxBytes } from './file-logger.ts';
import { progressLine } from './live-progress.ts';
import { instancePages } from './show.ts';

const colors = pc.createColors(false);
const recorded = (from: { type: string; data: unknown }) => from as RecordedEvent;

describe('progress', () => {
  it('has a line for what a person follows, and none for the rest', () => {
    const guest = { instance: 'web-1', node: 'n1', attempt: 2 };
    const line = (given: { type: string; data: unknown }) => progressLine(recorded(given), colors);
    expect(line(event('InstancePlaced', { instance: 'web-1', node: 'n1' }))).toBe('  placed    web-1 on n1');
    expect(line(event('GuestStarted', { ...guest, runtime: 'zones', address: { host: 'h' } }))).toBe(
      '  started   web-1 zones, at h, run 2',
    );
    expect(line(event('GuestHealthy', { ...guest, probe: 'readiness' }))).toBe('  ready     web-1');
    expect(line(event('GuestHealthy', { ...guest, probe: 'liveness' }))).toBeUndefined();
    expect(line(event('WorkloadRemoved', { workload: 'default/web' }))).toBeUndefined();
    expect(line(event('GuestFailed', { ...guest, stage: 'create', code: 'X', reason: 'no\nspace' }))).toBe(
      '  failed    web-1: cannot create: no; space',
    );
  });
});

describe('pages', () => {
  const view = (features: Record<string, boolean>) =>
    clusterView({
      nodes: clusterView().nodes.map((node) => ({ ...node, runtimes: [{ name: 'zones', version: '1', features }] })),
      workloads: [workloadView('default/web', 3), workloadView('default/other', 1)],
      instances: [
        instanceView('web-1', 'default/web'),
        instanceView('web-2', 'default/web', { address: { host: '198.18.0.2' } }),
        instanceView('web-3', 'default/web', { state: 'exited' }),
        instanceView('other-1', 'default/other'),
      ],
    });

  it('are those of running instances, at the port as it is seen from here', () => {
    expect(instancePages(view({}), ['default/web'])).toEqual([
      { name: 'web-1', url: 'http://127.0.0.1:40001/' },
      { name: 'web-2', url: 'http://198.18.0.2:8080/' },
    ]);
  });

  it('are never asked of simulated guests: their addresses belong to nobody, or to somebody else', () => {
    expect(instancePages(view({ simulated: true }), ['default/web'])).toEqual([]);
  });
});

describe('the diagnostic file', () => {
  it('holds JSON lines of its level and stays within its bound', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'cloudos-logger-'));
    const file = join(dir, 'kernel.log');
    const logger = new FileLogger(file, 'warn');
    logger.info('not this');
    logger.warn('this', { slot: 'log' });
    expect(JSON.parse(await readFile(file, 'utf8'))).toMatchObject({ level: 'warn', message: 'this', slot: 'log' });
    const megabyte = 'x'.repeat(2 ** 20);
    for (let n = 0; n < 25; n++) logger.error(megabyte);
    for (const each of [file, `${file}.1`]) expect((await stat(each)).size).toBeLessThanOrEqual(logFileMaxBytes);
    expect((await stat(file)).mode & 0o077).toBe(0);
    logger.close();
    logger.error('after the end');
    await rm(dir, { recursive: true });
  });
});
