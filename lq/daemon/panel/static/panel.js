// Makes a page of the panel live and pleasant; without it forms still post and links still lead.
//
// Owns nothing but the order: what the daemon sent is remembered before anything changes it. Each
// module finds its own elements again after every change of the page, so all of them may be run
// over one page any number of times.

import { showCopyButtons } from "./copy.js";
import { followForms } from "./explain.js";
import { listenForKeys } from "./keys.js";
import { goLive, rememberRegions } from "./live.js";
import { followLogs } from "./log.js";
import { showTabs } from "./tabs.js";
import { keepTimesTrue, showTimes } from "./times.js";

function enhance() {
  showTimes();
  showTabs();
  showCopyButtons();
  followLogs();
}

rememberRegions();
enhance();
document.addEventListener("lq:regions", enhance);
keepTimesTrue();
followForms();
listenForKeys();
goLive();
