import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorsPage } from './errors-page.ts';
import { eventsPage } from './events-page.ts';

/** Writes the generated pages. Returns their paths relative to the checkout. */
export function writeDocs(root: string): string[] {
  const pages: [path: string, text: string][] = [
    ['docs/errors.md', errorsPage()],
    ['docs/events.md', eventsPage()],
  ];
  for (const [path, text] of pages) writeFileSync(join(root, path), text);
  return pages.map(([path]) => path);
}
