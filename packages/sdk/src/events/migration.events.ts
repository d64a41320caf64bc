import { z } from 'zod';

const migration = z.string().min(1);
const instance = z.string().min(1);

/** The saga that moves a stateful guest, in the stream `migration-<id>`. */
export const migrationEvents = {
  MigrationStarted: {
    doc: 'The guest shall move. The source keeps serving.',
    schema: z.object({ migration, instance, from: z.string(), to: z.string(), successor: instance }),
  },
  SnapshotTransferred: {
    doc: 'The snapshot has arrived at the destination.',
    schema: z.object({ migration, instance, sizeBytes: z.int().nonnegative(), journalFrom: z.int().nonnegative() }),
  },
  RequestsReplayed: {
    doc: 'Requests that the source received since the snapshot were replayed on the destination.',
    schema: z.object({ migration, instance, requests: z.int().nonnegative(), journalTo: z.int().nonnegative() }),
  },
  CutOver: {
    doc: 'Names point to the destination: the point of no return.',
    schema: z.object({ migration, instance, successor: instance }),
  },
  SourceRetired: { doc: 'The source was shut down.', schema: z.object({ migration, instance }) },
  MigrationCompleted: {
    doc: 'The guest has moved: its successor is the one that runs.',
    schema: z.object({ migration, instance, successor: instance }),
  },
  MigrationAborted: {
    doc: 'The source stays; what was made at the destination is removed.',
    schema: z.object({ migration, instance, code: z.string(), reason: z.string() }),
  },
} as const;
