import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { guestConformance } from '@cloudos/conformance';
import { afterAll } from 'vitest';
import { fillDisk } from './full-disk.fixture.ts';
import guestZones from './index.ts';
import { zoneTraces } from './zone-traces.fixture.ts';

const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-given-'));
afterAll(() => rmSync(hostPath, { recursive: true, force: true }));

guestConformance(guestZones, {
  lacks: ['snapshot'],
  image: 'host:',
  config: { hostPaths: [hostPath] },
  hostPath,
  traces: zoneTraces,
  ...(fillDisk ? { fillDisk } : {}),
});
