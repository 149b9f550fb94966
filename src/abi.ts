/** The number that native files of this version carry (kAbi in native/backend.h); another number is refused by name. */
export const ABI = 7;
