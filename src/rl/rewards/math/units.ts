/** Spellings of units, each with one name; two answers whose names differ ("5 cm", "5 m") are not equal. */
const SPELLINGS: Readonly<Record<string, string>> = {
  metre: 'm meter meters metre metres',
  centimetre: 'cm centimeter centimeters centimetre centimetres',
  millimetre: 'mm millimeter millimeters millimetre millimetres',
  kilometre: 'km kilometer kilometers kilometre kilometres',
  inch: 'in inch inches',
  foot: 'ft foot feet',
  yard: 'yd yard yards',
  mile: 'mi mile miles',
  gram: 'g gram grams',
  kilogram: 'kg kilogram kilograms',
  pound: 'lb lbs pound pounds',
  ounce: 'oz ounce ounces',
  litre: 'l liter liters litre litres',
  millilitre: 'ml milliliter milliliters',
  second: 's sec secs second seconds',
  minute: 'min mins minute minutes',
  hour: 'h hr hrs hour hours',
  day: 'day days',
  week: 'week weeks',
  month: 'month months',
  year: 'yr yrs year years',
  dollar: 'dollar dollars usd',
  cent: 'cent cents',
  euro: 'euro euros eur €',
  'pound sterling': '£',
  yen: 'yen ¥',
  degree: 'degree degrees deg',
  percent: 'percent percents',
  radian: 'rad radian radians',
  mph: 'mph',
  kph: 'kph kmh',
};

const NAMES = new Map(
  Object.entries(SPELLINGS).flatMap(([name, list]) => list.split(' ').map((spelling) => [spelling, name] as const)),
);

/** The unit's one name, or undefined for a word that is no unit we know. */
export const unitName = (word: string): string | undefined => NAMES.get(word.toLowerCase());
