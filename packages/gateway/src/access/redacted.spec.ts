import { describe, expect, it } from 'vitest';
import { redacted, redactedData } from './redacted.ts';
import { newToken } from './stored-token.ts';

describe('what is said without its tokens', () => {
  it('is the same text but for them', () => {
    const { token } = newToken();
    expect(redacted(`given "Bearer ${token}", expected another`)).toBe(
      'given "Bearer cloudos_[redacted]", expected another',
    );
    expect(redacted(`${token.slice(0, 30)}...`)).toBe('cloudos_[redacted]...');
    expect(redacted('cloudos_up is a name, cloudos_ a prefix')).toBe('cloudos_up is a name, cloudos_ a prefix');
  });

  it('is the same data but for them', () => {
    const { token } = newToken();
    const data = { given: [token], at: { [token]: 1 }, kept: 'x' };
    expect(redactedData(data)).toEqual({
      given: ['cloudos_[redacted]'],
      at: { 'cloudos_[redacted]': 1 },
      kept: 'x',
    });
    const plain = { kept: ['x'] };
    expect(redactedData(plain)).toBe(plain);
    expect(redactedData(undefined)).toBeUndefined();
  });
});
