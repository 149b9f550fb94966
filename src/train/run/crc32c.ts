/**
 * CRC-32C (Castagnoli), the checksum of TFRecord files: polynomial 0x1EDC6F41, reflected, all ones in and out.
 * RFC 3720, section 12.1. (zlib's `crc32` is another polynomial.)
 */
const TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

/** The checksum of `bytes`, or of what `previous` was the checksum of followed by `bytes`. */
export function crc32c(bytes: Uint8Array, previous = 0): number {
  let crc = ~previous;
  for (let i = 0; i < bytes.length; i++) crc = TABLE[(crc ^ bytes[i]!) & 0xff]! ^ (crc >>> 8);
  return ~crc >>> 0;
}
