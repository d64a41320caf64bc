import { type Refusal, refuse } from '@cloudos/sdk';
import { LineCounter, parseAllDocuments } from 'yaml';
import { isMapping } from './fields.ts';

/** The largest manifest that is read, in characters, and the most objects in it. */
export const manifestCharsMax = 4 * 1024 * 1024;
export const manifestObjectsMax = 10_000;

/** One object of a manifest and the document that it stands in, from 1. */
export interface ManifestObject {
  readonly document: number;
  /** `document 2` or `document 2, items[0]`. */
  readonly place: string;
  readonly value: Readonly<Record<string, unknown>>;
}

/** Splits YAML or JSON text into its objects, as kubectl does: empty documents are skipped, a `List` is opened. */
export function readDocuments(text: string, source: string): readonly ManifestObject[] | Refusal {
  if (text.length > manifestCharsMax) {
    return refuse('MANIFEST_INVALID', `${source}: ${text.length} characters, expected at most ${manifestCharsMax}`);
  }
  const lines = new LineCounter();
  const parsed = parseAllDocuments(text, { lineCounter: lines, merge: true, prettyErrors: false });
  const objects: ManifestObject[] = [];
  for (const [index, document] of parsed.entries()) {
    const problem = document.errors[0];
    if (problem) {
      const { line, col } = lines.linePos(problem.pos[0]);
      return refuse('MANIFEST_MALFORMED', `${source}: line ${line}, column ${col}: ${problem.message}`);
    }
    const failure = addDocument(objects, index + 1, () => document.toJS({ maxAliasCount: 100 }), source);
    if (failure) return failure;
  }
  if (objects.length > manifestObjectsMax) {
    return refuse('MANIFEST_INVALID', `${source}: ${objects.length} objects, expected at most ${manifestObjectsMax}`);
  }
  if (objects.length === 0) return refuse('MANIFEST_INVALID', `${source}: given no object, expected at least one`);
  return objects;
}

function addDocument(
  objects: ManifestObject[],
  document: number,
  toValue: () => unknown,
  source: string,
): Refusal | undefined {
  const place = `document ${document}`;
  let value: unknown;
  try {
    value = toValue();
  } catch (error) {
    return refuse('MANIFEST_MALFORMED', `${source}: ${place}: ${(error as Error).message}`);
  }
  if (value === null || value === undefined) return undefined;
  if (!isMapping(value)) {
    return refuse('MANIFEST_INVALID', `${source}: ${place}: given ${typeof value}, expected a mapping with a kind`);
  }
  if (value.kind !== 'List') {
    objects.push({ document, place, value });
    return undefined;
  }
  const items = value.items ?? [];
  if (!Array.isArray(items)) return refuse('MANIFEST_INVALID', `${source}: ${place}: items: expected a list`);
  for (const [index, item] of items.entries()) {
    if (!isMapping(item)) {
      return refuse('MANIFEST_INVALID', `${source}: ${place}: items[${index}]: expected a mapping with a kind`);
    }
    objects.push({ document, place: `${place}, items[${index}]`, value: item });
  }
  return undefined;
}
