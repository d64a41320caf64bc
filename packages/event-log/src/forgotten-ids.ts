/** What the ids that are not in the window any more have in common. Survives a restart. */
export interface ForgottenIds {
  /** The greatest UUIDv7 among them, as text; empty when there is none. */
  readonly greatest: string;
  /** Whether ids other than UUIDv7 are among them. */
  readonly others: boolean;
}

export const nothingForgotten: ForgottenIds = { greatest: '', others: false };

export interface MutableIds {
  greatest: string;
  others: boolean;
}

/** True for the text of a UUIDv7, by its length and version digit. */
export function looksLikeUuid7(id: string): boolean {
  return id.length === 36 && id.charCodeAt(14) === 55;
}

/** Takes an id into the summary. */
export function noteId(ids: MutableIds, id: string): void {
  if (!looksLikeUuid7(id)) ids.others = true;
  else if (id > ids.greatest) ids.greatest = id;
}

/** Whether the id may be among those that the summary stands for. */
export function isForgotten(ids: ForgottenIds, id: string): boolean {
  return looksLikeUuid7(id) ? id <= ids.greatest : ids.others;
}

export function mergeIds(a: ForgottenIds, b: ForgottenIds): ForgottenIds {
  const [lesser, greater] = a.greatest < b.greatest ? [a, b] : [b, a];
  return { greatest: greater.greatest, others: greater.others || lesser.others };
}
