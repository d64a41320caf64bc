import 'reflect-metadata';
import { Container } from 'inversify';

/** Names a part of the kernel and its type. */
export interface Token<T> {
  readonly id: symbol;
  /** Never set: carries the type. */
  readonly type?: T;
}

export function token<T>(name: string): Token<T> {
  return { id: Symbol(name) };
}

export type Get = <T>(part: Token<T>) => T;

/**
 * The composition root's container: each part is made once, when it is first asked for, from the parts that its
 * factory gets. The only place that knows inversify; parts take plain constructor arguments.
 */
export class Composition {
  readonly #container = new Container({ defaultScope: 'Singleton' });

  provide<T>(part: Token<T>, make: (get: Get) => T): this {
    this.#container
      .bind<T>(part.id)
      .toDynamicValue((context) => make((other) => context.get(other.id)))
      .inSingletonScope();
    return this;
  }

  get<T>(part: Token<T>): T {
    return this.#container.get<T>(part.id);
  }
}
