//! Prices usage at the list prices of the provider that each row belongs to, which the first part of its namespace says.

use std::collections::BTreeMap;
use std::sync::Arc;

use sonagi_meter::{Amount, Tariff};
use sonagi_ports::UsageRow;

use crate::native::{Price, Priced};
use crate::providers::Provider;

/// Prices by the tariffs of these providers.
pub(crate) fn price_by(providers: &[Provider]) -> Price {
    let tariffs: BTreeMap<&'static str, Tariff> = providers
        .iter()
        .map(|provider| (provider.adapter.provider(), provider.tariff.clone()))
        .collect();
    Arc::new(move |rows| price(rows, &tariffs))
}

fn price(rows: &[UsageRow], tariffs: &BTreeMap<&'static str, Tariff>) -> Priced {
    let mut totals: BTreeMap<&str, Amount> = BTreeMap::new();
    let amount = |currency: &str, value: Amount| sonagi_api::Amount {
        currency: currency.to_owned(),
        value: value.to_string(),
    };
    let priced = rows.iter().map(|row| {
        let tariff = tariffs.get(row.namespace.as_str().split('/').next()?)?;
        let usage = sonagi_meter::Usage {
            attempts: row.attempts,
            billed_ms: row.billed_ms,
            memory: row.memory,
            scratch: row.scratch,
        };
        let total = sonagi_meter::price(&[usage], tariff).first()?.total();
        let sum = totals.entry(tariff.currency.as_str()).or_insert(Amount::ZERO);
        *sum = *sum + total;
        Some(amount(&tariff.currency, total))
    });
    let rows = priced.collect();
    Priced {
        rows,
        totals: totals
            .into_iter()
            .map(|(currency, value)| amount(currency, value))
            .collect(),
    }
}
