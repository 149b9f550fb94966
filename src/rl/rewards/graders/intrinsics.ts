/** Taken before a reward is loaded, which may put others in their place. */
const { ownKeys, getOwnPropertyDescriptor } = Reflect;
const { is } = Object;

/** What every program of this process rests on. Error itself is left out: its stackTraceLimit is there to be set. */
const INTRINSICS: readonly (readonly [name: string, object: object])[] = [
  ['Error.prototype', Error.prototype],
  ['JSON', JSON],
  ['Math', Math],
  ['Reflect', Reflect],
  ...[Object, Function, Array, String, Number, Boolean, Symbol, BigInt, Promise, RegExp, Date, Map, Set].flatMap(
    (type) => [[type.name, type] as const, [`${type.name}.prototype`, type.prototype as object] as const],
  ),
  ['iterators', Object.getPrototypeOf(Object.getPrototypeOf([][Symbol.iterator]()))],
  ['array iterators', Object.getPrototypeOf([][Symbol.iterator]())],
];

/** A property as it stood: its value, or its getter and setter. */
interface Place {
  readonly name: string;
  readonly object: object;
  readonly keys: readonly PropertyKey[];
  readonly held: readonly unknown[];
}

/**
 * Remembers the language's own objects. The result tells which of them has been changed since, or undefined: a reward
 * that puts `skip` on every object, or another `isFinite` in its place, would judge all samples after its own.
 */
export function watchIntrinsics(): () => string | undefined {
  const places: Place[] = INTRINSICS.map(([name, object]) => {
    const keys = ownKeys(object);
    return { name, object, keys, held: heldBy(object, keys) };
  });
  return () => {
    // Plain loops: iteration itself may be what was changed.
    for (let i = 0; i < places.length; i++) {
      const { name, object, keys, held } = places[i]!;
      const now = ownKeys(object);
      if (now.length !== keys.length) return name;
      for (let k = 0; k < keys.length; k++) {
        const found = now[k] === keys[k] ? getOwnPropertyDescriptor(object, keys[k]!) : undefined;
        if (!found || !is(found.value, held[3 * k]) || found.get !== held[3 * k + 1] || found.set !== held[3 * k + 2])
          return name;
      }
    }
    return undefined;
  };
}

function heldBy(object: object, keys: readonly PropertyKey[]): unknown[] {
  return keys.flatMap((key) => {
    const { value, get, set } = getOwnPropertyDescriptor(object, key)!;
    return [value, get, set];
  });
}
