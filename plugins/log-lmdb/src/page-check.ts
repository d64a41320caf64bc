/** Placeholder. */
export function checkPages(_directory: string): void {}
