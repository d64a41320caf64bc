import { type ControlMarkers, type ControlMethods, eventLayers } from '@cloudos/client';
import { z } from 'zod';
import { errorBody } from '../routes/shapes.ts';

const position = z.int().nonnegative();
const names = z.array(z.string().min(1).max(300)).max(100);
const none = z.strictObject({});
/** A position, or -1 before the first event. */
const reached = z.int().min(-1);

export const filterSchema = z.strictObject({
  types: names.optional().describe('event types; * at the end matches any rest'),
  streams: names.optional().describe('streams; * at the end matches any rest'),
  workload: z.string().min(1).max(300).optional().describe('events about the workload and its instances'),
  node: z.string().min(1).max(300).optional().describe('events of the stream of the node, or whose data name it'),
  layer: z.enum(eventLayers).optional().describe('events whose type belongs to the layer'),
  cause: z
    .union([position, z.string().min(1).max(300)])
    .optional()
    .describe('a correlation, or a position'),
});

/** Events of one append. */
export const appendEventsMax = 1_024;
/** Positions of one acknowledgement that names them. */
export const acknowledgeMax = 4_096;

/** Appends of one request for many. */
export const appendsMax = 4_096;

const name = z.string().min(1).max(300);
const expected = z.union([position, z.enum(['none', 'any'])]).optional();

const appendSchema = z.object({
  stream: name,
  events: z
    .array(z.object({ type: name, data: z.unknown().optional(), id: z.uuid().optional() }))
    .min(1)
    .max(appendEventsMax),
  expected,
});

/** One of many appends. */
export const appendRow = z.tuple([
  name,
  z
    .array(z.tuple([name, z.unknown().optional(), z.uuid().optional()]))
    .min(1)
    .max(appendEventsMax),
  expected,
]);

const outcomeRow = z.tuple([position, position, position, z.boolean()]);
const controlError = z.object({ code: z.int(), message: z.string(), data: errorBody });

const markerPosition = z.object({ position: reached, head: reached });

/** What a client may ask for, with what it is answered: the truth for the server, the document and its test. */
export const controlMethods = {
  filter: {
    doc: 'Replaces the filter of the subscription, from the position in the answer on.',
    params: filterSchema,
    result: z.object({ from: position }),
    example: { types: ['Guest*'], node: 'local' },
  },
  pause: { doc: 'Nothing is sent until resume.', params: none, result: z.object({ from: position }), example: {} },
  resume: { doc: 'Sending goes on.', params: none, result: z.object({ from: position }), example: {} },
  credit: {
    doc: 'That many more events may be sent. The first grant ends what was unlimited before.',
    params: z.strictObject({ events: z.int().min(0).max(1_000_000_000) }),
    result: z.object({ credit: z.int().nonnegative() }),
    example: { events: 1000 },
  },
  acknowledge: {
    doc: 'Of a named subscription: what this connection was given up to a position, or at some, is done with.',
    params: z.union([
      z.strictObject({ position: reached }),
      z.strictObject({ positions: z.array(position).min(1).max(acknowledgeMax) }),
    ]),
    result: z.object({ cursor: reached }),
    example: { position: 41 },
  },
  snapshot: {
    doc: 'The state of the cluster at a position (default: the head).',
    params: z.strictObject({ position: position.optional() }),
    result: z.object({ position: reached, view: z.looseObject({ position: reached }) }),
    example: { position: 41 },
  },
  ping: { doc: 'Answers with how far the subscription is.', params: none, result: markerPosition, example: {} },
  append: {
    doc: 'Appends private events to a private stream of a program; durable when it is answered.',
    params: appendSchema,
    result: z.object({ first: position, last: position, revision: position, duplicate: z.boolean() }),
    example: { stream: 'x-audit', events: [{ type: 'x-audit-Reviewed', data: { by: 'ann' } }] },
  },
  appendEach: {
    doc: 'Many appends as rows of stream, events and expected revision; each for itself, durable when all are answered.',
    params: z.object({ appends: z.array(appendRow).min(1).max(appendsMax) }),
    result: z.object({
      outcomes: z
        .array(z.union([outcomeRow, controlError]))
        .describe('of each append: first and last position, revision of the stream, duplicate; or what was wrong'),
    }),
    example: { appends: [['x-audit', [['x-audit-Reviewed', { by: 'ann' }]]]] },
  },
} as const satisfies { [Method in keyof ControlMethods]: MethodSchema };

export interface MethodSchema {
  readonly doc: string;
  readonly params: z.ZodType;
  readonly result: z.ZodType;
  readonly example: unknown;
}

/** What the server says unasked, besides events. */
export const controlMarkers = {
  Live: {
    doc: 'Catch-up is over: what follows is delivered as it is recorded.',
    data: markerPosition,
    example: { position: 41, head: 41 },
  },
  Heartbeat: {
    doc: 'Every matching event up to position was delivered; the log ends at head.',
    data: markerPosition,
    example: { position: 41, head: 41 },
  },
  Gap: {
    doc: 'Retention has removed what was asked for: positions from to to are missing. A snapshot stands in for them.',
    data: z.object({
      from: position,
      to: position,
      head: reached,
      snapshot: z.object({ method: z.literal('snapshot'), path: z.string() }),
    }),
    example: { from: 0, to: 9_999, head: 20_000, snapshot: { method: 'snapshot', path: '/v1/view' } },
  },
} as const satisfies {
  [Name in keyof ControlMarkers]: { doc: string; data: z.ZodType<ControlMarkers[Name]>; example: ControlMarkers[Name] };
};

/** One request of the control channel. */
export const controlRequest = z.object({
  jsonrpc: z.literal('2.0'),
  id: z.union([z.string().max(300), z.number(), z.null()]).optional(),
  method: z.string(),
  params: z.unknown().optional(),
});
