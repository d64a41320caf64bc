import { batchEncodings, batchHeaderBytes, controlTypePrefix, subprotocols } from '@cloudos/client';
import { jsonSchemaOf, type SharedEventType, sharedEvents } from '@cloudos/sdk';
import { z } from 'zod';
import { errorBody } from '../routes/shapes.ts';
import { cloudEvent } from './cloud-event.schema.ts';
import { controlMarkers, controlMethods, type MethodSchema } from './control-schemas.ts';

type JsonObject = Readonly<Record<string, unknown>>;

/** A message of the feed: who says it, in which subprotocols, and what it looks like. */
interface Message {
  readonly by: 'server' | 'client';
  readonly title: string;
  readonly summary: string;
  readonly contentType: string;
  readonly payload?: JsonObject;
  readonly example?: unknown;
}

const json = 'application/json';
const id = { type: ['string', 'number', 'null'] };

/** The AsyncAPI 3 document of the event feed, made from the schemas that the server itself checks by. */
export function asyncApiDocument(version: string): JsonObject {
  const messages = feedMessages();
  const names = Object.keys(messages);
  const said = (by: Message['by']) => names.filter((name) => messages[name]?.by === by);
  const inChannel = (name: string) => ({ $ref: `#/channels/events/messages/${name}` });
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'cloudos events',
      version,
      description: `Recorded events over WebSocket. Subprotocols: \`${subprotocols.standard}\` (one CloudEvent a message; also spoken when none is offered) and \`${subprotocols.compact}\` (batches in binary messages, control in text messages). Described in words in docs/events-protocol.md; the HTTP side is described by \`/v1/openapi.json\`.`,
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: json,
    channels: {
      events: {
        address: '/v1/events',
        title: 'The event feed',
        messages: Object.fromEntries(names.map((name) => [name, { $ref: `#/components/messages/${name}` }])),
      },
    },
    operations: {
      tell: {
        action: 'send',
        channel: { $ref: '#/channels/events' },
        summary: 'What the server says: events, markers, and answers to requests.',
        messages: said('server').map(inChannel),
      },
      ask: {
        action: 'receive',
        channel: { $ref: '#/channels/events' },
        summary: 'What a client may ask for: requests of JSON-RPC 2.0, also in batches.',
        messages: said('client').map(inChannel),
      },
    },
    components: {
      messages: Object.fromEntries(names.map((name) => [name, rendered(messages[name] as Message)])),
      schemas: Object.fromEntries(
        (Object.keys(sharedEvents) as SharedEventType[]).map((type) => [
          type,
          { description: sharedEvents[type].doc, ...jsonSchemaOf(type) },
        ]),
      ),
    },
  };
}

/** Every message that crosses a connection of the feed, by name. */
export function feedMessages(): Readonly<Record<string, Message>> {
  const messages: Record<string, Message> = {
    Event: {
      by: 'server',
      title: 'A recorded event',
      summary: `In \`${subprotocols.standard}\`. \`type\` without \`io.cloudos.\` names the schema of \`data\`; private types (\`x-…\`) have none.`,
      contentType: json,
      payload: { ...schemaOf(cloudEvent), properties: eventProperties() },
      example: exampleEvent,
    },
    Batch: {
      by: 'server',
      title: 'Recorded events, many at a time',
      summary: `In \`${subprotocols.compact}\`: batches, each with a header of ${batchHeaderBytes} bytes; encodings ${JSON.stringify(batchEncodings)}.`,
      contentType: 'application/octet-stream',
    },
    Failure: {
      by: 'server',
      title: 'A request that failed',
      summary: 'Codes below -32000 are those of JSON-RPC 2.0; -32000 stands for the error code in `data`.',
      contentType: json,
      payload: rpc({ id, error: errorSchema() }, ['id', 'error']),
      example: {
        jsonrpc: '2.0',
        id: 1,
        error: {
          code: -32601,
          message: 'no method fly',
          data: { code: 'REQUEST_MALFORMED', message: 'no method fly', remedy: 'Correct what is named.' },
        },
      },
    },
  };
  for (const [name, { doc, data, example }] of Object.entries(controlMarkers)) {
    const type = `${controlTypePrefix}${name}`;
    const method = `${name.charAt(0).toLowerCase()}${name.slice(1)}`;
    messages[`${name}Event`] = {
      by: 'server',
      title: `${name}, as a CloudEvent`,
      summary: `${doc} In \`${subprotocols.standard}\`${name === 'Gap' ? '' : ', where `markers=true` asks for it'}.`,
      contentType: json,
      payload: controlEventSchema(type, schemaOf(data)),
      example: {
        specversion: '1.0',
        type,
        source: '/cloudos/local',
        id: exampleId,
        time: exampleTime,
        datacontenttype: json,
        data: example,
      },
    };
    messages[`${name}Notification`] = {
      by: 'server',
      title: `${name}, as a notification`,
      summary: `${doc} In \`${subprotocols.compact}\`.`,
      contentType: json,
      payload: rpc({ method: { const: method }, params: schemaOf(data) }, ['method', 'params']),
      example: { jsonrpc: '2.0', method, params: example },
    };
  }
  for (const [method, schema] of Object.entries(controlMethods) as [string, MethodSchema][]) {
    const name = `${method.charAt(0).toUpperCase()}${method.slice(1)}`;
    messages[`${name}Request`] = {
      by: 'client',
      title: method,
      summary: schema.doc,
      contentType: json,
      payload: rpc({ id, method: { const: method }, params: schemaOf(schema.params, 'input') }, ['method']),
      example: { jsonrpc: '2.0', id: 1, method, params: schema.example },
    };
    messages[`${name}Answer`] = {
      by: 'server',
      title: `The answer to ${method}`,
      summary: schema.doc,
      contentType: json,
      payload: rpc({ id, result: schemaOf(schema.result) }, ['id', 'result']),
    };
  }
  return messages;
}

const exampleId = '0190a0b0-0000-7000-8000-000000000000';
const exampleTime = '2026-01-31T12:00:00.000Z';
const exampleEvent = {
  specversion: '1.0',
  type: 'io.cloudos.GuestHealthy',
  source: '/cloudos/local',
  id: exampleId,
  time: exampleTime,
  subject: 'node-local',
  datacontenttype: json,
  position: 41,
  revision: 7,
  schemaversion: 1,
  producer: 'node-agent',
  generation: 1,
  causation: 40,
  data: { instance: 'web-7d9f8c6b5-x2k4j', node: 'local', attempt: 1, probe: 'readiness' },
};

function rendered({ title, summary, contentType, payload, example }: Message): JsonObject {
  return {
    title,
    summary,
    contentType,
    ...(payload && { payload }),
    ...(example !== undefined && { examples: [{ payload: example }] }),
  };
}

function eventProperties(): JsonObject {
  const { properties } = schemaOf(cloudEvent) as { properties: JsonObject };
  const deliveries = { type: 'integer', minimum: 2, description: 'Of a named subscription: told for that many times.' };
  return { ...properties, deliveries };
}

function controlEventSchema(type: string, data: JsonObject): JsonObject {
  const text = { type: 'string' };
  const properties = {
    specversion: { const: '1.0' },
    type: { const: type },
    source: text,
    id: text,
    time: text,
    datacontenttype: { const: json },
    data,
  };
  return { type: 'object', properties, required: Object.keys(properties), additionalProperties: false };
}

function rpc(properties: JsonObject, required: readonly string[]): JsonObject {
  return {
    type: 'object',
    properties: { jsonrpc: { const: '2.0' }, ...properties },
    required: ['jsonrpc', ...required],
    additionalProperties: false,
  };
}

function errorSchema(): JsonObject {
  return {
    type: 'object',
    properties: { code: { type: 'integer' }, message: { type: 'string' }, data: schemaOf(errorBody) },
    required: ['code', 'message'],
  };
}

function schemaOf(schema: z.ZodType, io: 'input' | 'output' = 'output'): JsonObject {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io }) as Record<string, unknown>;
  return rest;
}
