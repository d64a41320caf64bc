import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { busyboxCommands, busyboxPrograms, type GuestConformanceOptions } from '@cloudos/conformance';
import { digest } from '@cloudos/host-tools';
import { ImageStore, importImage } from '@cloudos/images';
import { damage, obstacleToTestImages, shellImage } from '@cloudos/test-images';
import { type GuestDirectories, guestTraces } from '@cloudos/testing';
import { afterAll } from 'vitest';
import { daemonFlavour, type Flavour } from './daemon-flavour.ts';
import { fillPool } from './full-disk.fixture.ts';
import { nameOf } from './instance-life.ts';
import { LxdClient } from './lxd-client.ts';
import { lxdConfig } from './options.ts';
import { OwnDaemon } from './own-daemon.ts';

/** Of the name of an instance: a letter, six of the owner's digest, and a dash. */
const instancePrefixLength = 8;
/** `storage-pools/<pool>/containers/<name>`. */
const namesDepth = 4;
const daemonMaxMs = 60_000;

/** Why nothing of a daemon of that flavour can be tested here; undefined: it can. */
export function obstacleTo(flavour: Flavour): string | undefined {
  if (process.getuid?.() !== 0) return `a daemon of ${flavour} needs root: run the tests as root`;
  const { program, remedy } = daemonFlavour(flavour);
  return program ? obstacleToTestImages() : `there is no daemon of ${flavour} (${remedy})`;
}

/** What the tests that are not of the suite run on: LXD, or what `CLOUDOS_TEST_LXD_FLAVOUR` says. */
export function flavourUnderTest(): Flavour {
  return lxdConfig.shape.flavour.parse(process.env.CLOUDOS_TEST_LXD_FLAVOUR) ?? 'lxd';
}

/** The suite of guests on an own daemon of that flavour. */
export function suiteOn(flavour: Flavour): GuestConformanceOptions {
  const hostPath = mkdtempSync(join(tmpdir(), 'cloudos-lxd-path-'));
  afterAll(() => rmSync(hostPath, { recursive: true, force: true }));
  return {
    config: { daemon: 'own', flavour, hostPaths: [hostPath] },
    image: 'shell:1',
    prepare: (stateDir) => shellImage(ImageStore.of(stateDir)),
    programs: busyboxPrograms,
    commands: busyboxCommands,
    hostPath,
    fillDisk: ({ dataDir }) => fillPool(dataDir, flavour),
    traces: (harness) => tracesOf(harness, flavour),
    takeName: (instance, { dataDir }) => takeName(instance, dataDir, flavour),
    damagedImage,
    prerequisite: () => obstacleTo(flavour),
  };
}

/** What is left on the machine, and what the daemon keeps under the names of our instances: directories and control groups. */
function tracesOf(directories: GuestDirectories, flavour: Flavour) {
  const { socket } = new OwnDaemon({ dataDir: directories.dataDir, pool: 'default', diskMaxBytes: 0, flavour });
  const ours = nameOf(digest(directories.dataDir, 16), '').slice(0, instancePrefixLength);
  const kept = ['/sys/fs/cgroup', dirname(socket)].flatMap((directory) => namesBelow(directory, namesDepth, ours));
  return { ...guestTraces(directories), kept: kept.sort() };
}

/** Paths below a directory whose last part has that in it. */
function namesBelow(directory: string, depth: number, part: string): string[] {
  if (depth === 0) return [];
  return directoriesIn(directory).flatMap((name) =>
    name.includes(part) ? [join(directory, name)] : namesBelow(join(directory, name), depth - 1, part),
  );
}

/** None of one that has gone away meanwhile. */
function directoriesIn(directory: string): string[] {
  try {
    const entries = readdirSync(directory, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}

/** Makes an instance of that name which is not the driver's. */
async function takeName(instance: string, dataDir: string, flavour: Flavour) {
  const daemon = new OwnDaemon({ dataDir, pool: 'default', diskMaxBytes: lxdConfig.parse({}).diskMaxBytes, flavour });
  await daemon.ensure(daemonMaxMs);
  const client = new LxdClient(daemon.socket, daemonMaxMs);
  const name = nameOf(digest(dataDir, 16), instance);
  const devices = { root: { type: 'disk', path: '/', pool: 'default' } };
  await client.change('POST', '/1.0/instances', { name, source: { type: 'none' }, devices, profiles: [] });
  return async () => void (await client.change('DELETE', `/1.0/instances/${name}`));
}

async function damagedImage(stateDir: string): Promise<string> {
  const store = ImageStore.of(stateDir);
  const from = mkdtempSync(join(stateDir, 'other-'));
  writeFileSync(join(from, 'file'), 'content');
  const [image] = await importImage(store, { from, form: 'root-directory' }, { reference: 'damaged:1' });
  if (image?.kind !== 'oci') throw new Error('no image');
  return damage(store, image);
}
