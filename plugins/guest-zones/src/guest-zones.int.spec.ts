import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestConformance } from '@cloudos/conformance';
import { fullDirectory, guestTraces } from '@cloudos/testing';
import { afterAll } from 'vitest';
import guestZones from './index.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-given-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

guestConformance(guestZones, {
  lacks: ['snapshot'],
  image: 'host:',
  config: { hostPaths: [hostPath], startTimeoutMs: 60_000 },
  hostPath,
  traces: guestTraces,
  // Only root can.
  ...(process.geteuid?.() === 0 ? { fillDisk: ({ dataDir }) => fullDirectory(join(dataDir, 'zones')) } : {}),
});
