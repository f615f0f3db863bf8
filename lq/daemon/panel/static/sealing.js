// The format of encrypted payloads and results, as lq/sdk/sealing.py writes it.
//
// Owns: reading it. Knows nothing of pages, keeps no key, asks nobody.
// Source: docs/handlers.md, "What lq cannot read"

const CONTENT_TYPE =
  /^application\/vnd\.lq\.encrypted *; *v=1 *; *kid=([0-9a-f]{16}) *; *type="((?:[^"\\]|\\[^\n])*)"$/i;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_BYTES = 32;
const HEX_ROW = 16;

/** Why something cannot be read, in words for a person. */
export class Unreadable extends Error {}

/** The bytes of a key in hex or base64. Throws Unreadable, which does not show it. */
export function readKey(text) {
  const given = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(given)) {
    return Uint8Array.from(given.match(/../g), (pair) => Number.parseInt(pair, 16));
  }
  const standard = given.replaceAll("-", "+").replaceAll("_", "/").replace(/=+$/, "");
  if (/^[A-Za-z0-9+/]{43}$/.test(standard)) {
    return bytesOf(standard);
  }
  throw new Unreadable(`not a key: expected ${KEY_BYTES} bytes, as 64 hex digits or as base64`);
}

/** Bytes from base64. Throws Unreadable. */
export function bytesOf(base64) {
  try {
    return Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
  } catch {
    throw new Unreadable("the encrypted bytes did not arrive whole");
  }
}

/** What a key is called in content types. */
export async function keyId(key) {
  const mac = await subtle().importKey("raw", key, { name: "HMAC", hash: "SHA-256" }, false, [
    "sign",
  ]);
  const digest = await subtle().sign("HMAC", mac, new TextEncoder().encode("lq-e2e-kid-v1"));
  return hex(new Uint8Array(digest).subarray(0, 8)).replaceAll(" ", "");
}

/**
 * Decrypt: the content type of the plaintext, and its bytes. Throws Unreadable.
 *
 * `sealed` has the `queue`, the `purpose` ("payload" or "result"), the `contentType` and the `body`.
 */
export async function unseal(key, sealed) {
  const found = CONTENT_TYPE.exec(sealed.contentType.trim());
  if (found === null) {
    throw new Unreadable(
      `the ${sealed.purpose} is encrypted in a way that this page does not know`,
    );
  }
  const kid = found[1].toLowerCase();
  const type = found[2].replace(/\\([^\n])/g, "$1");
  const given = await keyId(key);
  if (given !== kid) {
    throw new Unreadable(
      `this is another key: the ${sealed.purpose} was encrypted under kid ${kid}, this one is ${given}`,
    );
  }
  if (sealed.body.length < NONCE_BYTES + TAG_BYTES) {
    throw new Unreadable(`the ${sealed.purpose} is too short to be encrypted`);
  }
  const context = ["lq-e2e-v1", sealed.purpose, sealed.queue, kid, type].join("\n");
  const how = {
    name: "AES-GCM",
    iv: sealed.body.subarray(0, NONCE_BYTES),
    additionalData: new TextEncoder().encode(context),
  };
  const aes = await subtle().importKey("raw", key, "AES-GCM", false, ["decrypt"]);
  try {
    const plain = await subtle().decrypt(how, aes, sealed.body.subarray(NONCE_BYTES));
    return { type, plain: new Uint8Array(plain) };
  } catch {
    throw new Unreadable(
      `the ${sealed.purpose} was changed, or encrypted for another queue than ${sealed.queue}`,
    );
  }
}

/** Bytes as a person reads them: JSON on many lines, other text as it is, all else in hex. */
export function readable(type, plain) {
  if (plain.length === 0) {
    return "(empty)";
  }
  const text = textOf(plain);
  if (text === null) {
    return hexRows(plain);
  }
  return /^application\/json\b|\+json\b/i.test(type.trim()) && isJson(text)
    ? prettyJson(text)
    : text;
}

function textOf(plain) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(plain);
    return /[\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

function isJson(text) {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** JSON with line breaks. By its tokens: parsing would round long numbers and drop repeated names. */
function prettyJson(text) {
  let depth = 0;
  const line = () => `\n${"  ".repeat(depth)}`;
  return text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|\s+|[{[]\s*[}\]]|[{}[\],:]/g, (token) => {
    switch (token[0]) {
      case "{":
      case "[":
        if (token.length > 1) {
          return `${token[0]}${token.at(-1)}`;
        }
        depth += 1;
        return token + line();
      case "}":
      case "]":
        depth -= 1;
        return line() + token;
      case ",":
        return token + line();
      case ":":
        return ": ";
      case '"':
        return token;
      default:
        return ""; // white space between tokens
    }
  });
}

function hexRows(plain) {
  const rows = [];
  for (let at = 0; at < plain.length; at += HEX_ROW) {
    const row = plain.subarray(at, at + HEX_ROW);
    const ascii = Array.from(row, (byte) =>
      byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".",
    );
    rows.push(
      `${at.toString(16).padStart(8, "0")}  ${hex(row).padEnd(HEX_ROW * 3 - 1)}  ${ascii.join("")}`,
    );
  }
  return rows.join("\n");
}

function hex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function subtle() {
  const found = globalThis.crypto?.subtle;
  if (found === undefined) {
    throw new Unreadable(
      "this browser decrypts over https or on localhost only: open the panel there",
    );
  }
  return found;
}
