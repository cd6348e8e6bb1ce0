import {html} from 'lit';

// meter is a bar that shows a level from 0 to 1. Its width is set as a property: the page's policy has no inline styles.
export const meter = (label, value) => html`
  <span class="meter" role="meter" aria-label=${label} aria-valuemin="0" aria-valuemax="100" aria-valuenow=${Math.round(100 * value)}>
    <i .style=${`transform: scaleX(${value.toFixed(2)})`}></i>
  </span>`;
